package convert

import (
	"path"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/convert/conversion"
	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
)

// newSecretSuffix ends the names of Secrets that must not be those of the Secrets Store CSI Driver. The driver adds
// owner references to its Secrets, so Kubernetes deletes them with the last pod that mounts the volume.
const newSecretSuffix = "-akv2k8s"

const kindSecretProviderClass = "SecretProviderClass"

// providerClasses converts SecretProviderClasses of the Azure provider.
type providerClasses struct{ workloads *workloads }

// Matches implements conversion.Source.
func (providerClasses) Matches(o *conversion.Object) bool {
	return o.Group == "secrets-store.csi.x-k8s.io"
}

// Collect implements conversion.Source.
func (providerClasses) Collect(*conversion.Object) {}

// Convert implements conversion.Source.
func (s providerClasses) Convert(o *conversion.Object) {
	provider := o.Root.Get("spec").Get("provider")
	switch {
	case o.Kind != kindSecretProviderClass:
		o.Stay(o.Root, "the driver writes such objects; they need no conversion")
	case strings.ToLower(provider.Text()) != "azure":
		o.Stay(provider, "akv2k8s reads Azure Key Vault only; the object stays with the Secrets Store CSI Driver")
	default:
		s.convertClass(o)
	}
}

// providerClass is the conversion of a SecretProviderClass.
type providerClass struct {
	*conversion.Object
	workloads           *workloads
	parameters          manifest.Field
	labels, annotations map[string]string
	vault, account      string
	// objects are those of the vault, in order. A Secret refers to one by the name of its file.
	objects []*vaultFile
}

// vaultFile is an object of the vault that the driver mounts as a file.
type vaultFile struct {
	field manifest.Field
	file  string
	data  v2beta1.AzureKeyVaultData
	// isPFX is true if the file has a PFX.
	isPFX bool
	// isInSecret is true if a Secret has the object.
	isInSecret bool
	// reason says why the value can't be had; empty if it can.
	reason string
}

func (s providerClasses) convertClass(o *conversion.Object) {
	c := &providerClass{Object: o, workloads: s.workloads, parameters: o.Root.Get("spec", "parameters")}
	c.labels, c.annotations = o.ReadMetadata()
	c.vault = strings.TrimSpace(c.parameters.Get("keyvaultName").Text())
	if !c.readObjects() {
		o.Stay(c.parameters.Get("objects"), "it is not a list of objects in YAML")
		return
	}
	c.convertIdentity()
	c.convertCloud()
	for _, secret := range o.Root.Get("spec", "secretObjects").Items() {
		c.convertSecretObject(secret)
	}
	c.convertFiles()
	for _, r := range c.Resources {
		r.Collapse()
	}
}

// readObjects reads the objects: a YAML text with a list of YAML texts.
func (c *providerClass) readObjects() bool {
	list := c.Nested(c.parameters.Get("objects"))
	if list == nil {
		return false
	}
	for _, item := range list.Root().Get("array").Items() {
		one := c.Nested(item)
		if one == nil {
			return false
		}
		c.objects = append(c.objects, c.readObject(one.Root()))
	}
	return true
}

func (c *providerClass) readObject(f manifest.Field) *vaultFile {
	o := &vaultFile{field: f, file: f.Get("objectAlias").Text()}
	name := f.Get("objectName").Text()
	if o.file == "" {
		o.file = name
	}
	o.data.Object = v2beta1.AzureKeyVaultObject{Name: name, Version: f.Get("objectVersion").Text(),
		Type: v2beta1.ObjectTypeSecret}
	switch kind := f.Get("objectType").Text(); kind {
	case "secret":
	case "cert":
		o.data.Object.Type = v2beta1.ObjectTypeCertificate
	case "key":
		o.data.Object.Type = v2beta1.ObjectTypeKey
	default:
		o.reason = "the objectType is not known; use secret, key or cert"
	}
	if strings.EqualFold(f.Get("objectFormat").Text(), "pfx") && o.data.Object.Type == v2beta1.ObjectTypeSecret {
		o.isPFX = true
		o.data.Object.Type = v2beta1.ObjectTypeCertificate
	}
	switch strings.ToLower(f.Get("objectEncoding").Text()) {
	case "", "utf-8":
	case "base64":
		o.data.Transform = []v2beta1.Transform{"base64decode"}
	default:
		o.reason = "akv2k8s decodes base64, and no other objectEncoding"
	}
	c.readFileOptions(f)
	return o
}

func (c *providerClass) readFileOptions(f manifest.Field) {
	if history := f.Get("objectVersionHistory"); !slices.Contains([]string{"", "0", "1"}, history.Text()) {
		c.Say(conversion.LeftOut, history,
			"only the latest version is read; write one item of spec.data for each version")
	}
	if permission := f.Get("filePermission"); permission.Exists() {
		c.Say(conversion.Changed, permission, "set defaultMode, or items[].mode, of the Secret volume in the pod")
	}
}

// convertIdentity converts the identity that reads the vault.
func (c *providerClass) convertIdentity() {
	c.parameters.Get("tenantId").Discard() // the installation or the ServiceAccount has it
	c.parameters.Get("tenantID").Discard()
	identity := c.parameters.Get("userAssignedIdentityID")
	if managed := c.parameters.Get("useVMManagedIdentity"); managed.Bool() {
		c.SetManagedIdentity(managed, strings.TrimSpace(identity.Text()))
	} else {
		identity.Discard() // the provider ignores it
	}
	if pod := c.parameters.Get("usePodIdentity"); pod.Bool() {
		c.Say(conversion.LeftOut, pod,
			"aad-pod-identity is retired; see docs/authentication.md#next-to-aad-pod-identity")
	}
	client := c.parameters.Get("clientID")
	if strings.TrimSpace(client.Text()) == "" {
		return
	}
	accounts := c.workloads.accountsOf(c.Namespace, c.Name)
	if len(accounts) != 1 {
		c.Say(conversion.LeftOut, client, "the identity is that of a pod's ServiceAccount; name the ServiceAccount in "+
			"spec.vault.azureIdentity and in identity.serviceAccounts (give the workload as an input, too)")
		return
	}
	c.account = accounts[0]
	if c.Namespace != "" {
		c.Values.AllowServiceAccount(c.Namespace, c.account)
	}
	c.Say(conversion.Note, client,
		"ServiceAccount %q must have it as annotation azure.workload.identity/client-id", c.account)
}

func (c *providerClass) convertCloud() {
	if file := c.parameters.Get("cloudEnvFileName"); file.Text() != "" {
		c.Say(conversion.LeftOut, file, "set global.customCloud to the URLs in that file")
	}
	name := c.parameters.Get("cloudName")
	clouds := map[string]string{"": "", "azurepubliccloud": "", "azureusgovernmentcloud": "AzureUSGovernment",
		"azureusgovernment": "AzureUSGovernment", "azurechinacloud": "AzureChinaCloud"}
	cloud, known := clouds[strings.ToLower(strings.TrimSpace(name.Text()))]
	if !known {
		c.Say(conversion.LeftOut, name, "akv2k8s has no such cloud; see global.customCloud")
	}
	if cloud != "" && !c.Values.Set(cloud, "global", "cloud") {
		c.Say(conversion.LeftOut, name,
			"an installation has one cloud, and another object of the input needs another one")
	}
}

// newSecret adds a resource with a Secret.
func (c *providerClass) newSecret(name, secret string) *conversion.Resource {
	r := c.AddResource(name)
	r.Metadata.Labels, r.Metadata.Annotations = c.labels, c.annotations
	r.Spec.Vault.Name = c.vault
	if c.account != "" {
		r.Spec.Vault.AzureIdentity = &v2beta1.AzureIdentity{Name: c.account}
	}
	r.Secret().Name = conversion.NameWithSuffix(secret, newSecretSuffix)
	return r
}

// convertSecretObject converts a Secret that the driver syncs.
func (c *providerClass) convertSecretObject(secret manifest.Field) {
	name := secret.Get("secretName")
	r := c.newSecret(conversion.ToName(name.Text()), name.Text())
	r.Say(conversion.Changed, name, "spec.output.secret.name", "the Secret has a new name, because Kubernetes deletes "+
		"the old one with the last pod that mounts the volume; change the workloads")
	kind := secret.Get("type").Text()
	if kind != "" && kind != conversion.TypeOpaque {
		r.Secret().Type = kind
	}
	labels, annotations := secret.Get("labels").TextMap(), secret.Get("annotations").TextMap()
	if len(labels)+len(annotations) > 0 {
		r.Secret().Metadata = &v2beta1.AzureKeyVaultOutputMetadata{Labels: labels, Annotations: annotations}
	}
	items := secret.Get("data").Items()
	if kind == conversion.TypeTLS && c.convertPair(r, items) {
		return
	}
	for _, item := range items {
		c.convertSecretItem(r, item)
	}
	c.dropEmpty(r)
}

// dropEmpty removes a resource without objects.
func (c *providerClass) dropEmpty(r *conversion.Resource) {
	if len(r.Spec.Data) > 0 {
		return
	}
	c.Resources = c.Resources[:len(c.Resources)-1]
	c.Comments = append(c.Comments, r.TakeComments()...)
}

// fileNamed returns the object whose file has the name, or nil.
func (c *providerClass) fileNamed(name string) *vaultFile {
	for _, o := range c.objects {
		if o.file == name {
			return o
		}
	}
	return nil
}

// convertPair converts a TLS Secret whose certificate and key come from one object. It reports whether it did.
func (c *providerClass) convertPair(r *conversion.Resource, items []manifest.Field) bool {
	if len(items) != 2 {
		return false
	}
	o := c.fileNamed(conversion.PeekText(items[0], "objectName"))
	keys := conversion.PeekText(items[0], "key") + " " + conversion.PeekText(items[1], "key")
	isPair := keys == "tls.crt tls.key" || keys == "tls.key tls.crt"
	if o == nil || !isPair || c.fileNamed(conversion.PeekText(items[1], "objectName")) != o || o.reason != "" ||
		o.data.Object.Type != v2beta1.ObjectTypeSecret || len(o.data.Transform) > 0 {
		return false
	}
	for _, item := range items {
		item.Get("objectName").Text()
		item.Get("key").Text()
	}
	o.isInSecret = true
	r.Secret().ChainOrder = "ensureserverfirst"
	r.Spec.Data = []v2beta1.AzureKeyVaultData{{Object: o.data.Object}}
	return true
}

func (c *providerClass) convertSecretItem(r *conversion.Resource, item manifest.Field) {
	key := item.Get("key").Text()
	if plain := item.Get("plainValue"); plain.Exists() {
		r.LeaveOut(item, plain, r.NextData(),
			"a value that is not in the vault belongs in a ConfigMap"+conversion.Dropped(key))
		return
	}
	name := item.Get("objectName")
	o := c.fileNamed(name.Text())
	if o == nil {
		r.LeaveOut(item, name, r.NextData(),
			"no object of parameters.objects has this name or alias"+conversion.Dropped(key))
		return
	}
	o.isInSecret = true
	if r.Spec.Output.Secret.Type == conversion.TypeTLS && o.data.Object.Type == v2beta1.ObjectTypeSecret {
		r.Say(conversion.LeftOut, name, r.NextData(),
			"the driver takes "+key+" out of the value; akv2k8s writes the whole value")
	}
	c.addData(r, o, key)
}

// addData adds an object to a resource.
func (c *providerClass) addData(r *conversion.Resource, o *vaultFile, key string) {
	if o.reason != "" {
		r.Say(conversion.LeftOut, o.field, r.NextData(), o.reason+conversion.Dropped(key))
		return
	}
	isPlainCertificate := o.data.Object.Type == v2beta1.ObjectTypeCertificate && !o.isPFX
	if isPlainCertificate && r.Secret().Type == conversion.TypeOpaque || o.isPFX && !takesPFX(r) {
		r.LeaveOut(o.field, o.field.Get("objectFormat"), r.NextData(), "one Secret can't have both a PFX and "+
			"certificates without their keys; put it into a resource of its own"+conversion.Dropped(key))
		return
	}
	data := o.data
	data.DataKey = key
	if o.isPFX {
		r.Say(conversion.LeftOut, o.field.Get("objectFormat"), r.NextData(), "the Secret has the object as the vault "+
			"has it, PFX or PEM, with its key; it is not converted")
		r.Secret().Type = conversion.TypeOpaque
	}
	if data.Object.Type == v2beta1.ObjectTypeKey {
		r.Secret().KeyFormat = "pem"
	}
	r.Spec.Data = append(r.Spec.Data, data)
}

// takesPFX reports whether the Secret can have a PFX: it has the type Opaque then, for all certificates.
func takesPFX(r *conversion.Resource) bool {
	switch r.Secret().Type {
	case conversion.TypeOpaque:
		return true
	case "":
		return !slices.ContainsFunc(r.Spec.Data, func(d v2beta1.AzureKeyVaultData) bool {
			return d.Object.Type == v2beta1.ObjectTypeCertificate
		})
	}
	return false
}

// convertFiles converts the objects that only are files. A resource alone can't say where a pod has its files, so the
// files come from a Secret, and a comment names the annotation that does without.
func (c *providerClass) convertFiles() {
	var files []*vaultFile
	for _, o := range c.objects {
		if !o.isInSecret {
			files = append(files, o)
		}
	}
	if len(files) == 0 {
		return
	}
	name := c.Name
	for _, r := range c.Resources {
		if r.Secret().Name == conversion.NameWithSuffix(c.Name, newSecretSuffix) {
			name = conversion.NameWithSuffix(c.Name, "-files")
		}
	}
	r := c.newSecret(name, name)
	r.Say(conversion.Changed, c.parameters.Get("objects"), "spec.output.secret.name", "files come from this Secret, "+
		"whose values are in etcd; mount it in place of the csi volume, or give the pods files without a Secret "+
		"(annotation akv2k8s.io/files, see docs/reference/files.md)")
	for _, o := range files {
		key := strings.ReplaceAll(path.Clean(o.file), "/", ".")
		if key != o.file {
			r.Say(conversion.Changed, o.field.Get("objectAlias"), r.NextData(), "a data key has no slash; set "+
				"items[].path of the Secret volume")
		}
		c.addData(r, o, key)
	}
	c.dropEmpty(r)
}
