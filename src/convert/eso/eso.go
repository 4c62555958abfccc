package eso

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/convert/conversion"
	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
)

// groups are the API groups of External Secrets Operator.
const (
	group           = "external-secrets.io"
	generatorsGroup = "generators.external-secrets.io"
)

// Source converts the kinds of External Secrets Operator. It keeps the stores of the run.
type Source struct {
	vaults map[string]string
	stores []*store
}

// New returns a Source. The vaults are those of stores that are not among the inputs, by the name of the store; that of
// the empty name is for all others.
func New(vaults map[string]string) *Source { return &Source{vaults: vaults} }

// Matches implements conversion.Source.
func (s *Source) Matches(o *conversion.Object) bool {
	return o.Group == group || o.Group == generatorsGroup
}

// Convert implements conversion.Source.
func (s *Source) Convert(o *conversion.Object) {
	switch {
	case o.Group == generatorsGroup:
		o.Stay(o.Root, "akv2k8s generates no values; the object stays with External Secrets Operator")
	case o.Kind == kindSecretStore || o.Kind == kindClusterSecretStore:
		s.convertStore(o)
	case o.Kind == "ExternalSecret":
		s.convertExternalSecret(o)
	case o.Kind == "ClusterExternalSecret":
		s.convertClusterExternalSecret(o)
	default:
		o.Stay(o.Root, "akv2k8s has no equal of this kind; the object stays with External Secrets Operator")
	}
}

// externalSecret is the conversion of an ExternalSecret. Each store that it reads becomes a resource; all of them share
// the output.
type externalSecret struct {
	*conversion.Object
	source *Source
	spec   manifest.Field
	// baseName is the name of the first resource, and of the output if the target has none.
	baseName            string
	labels, annotations map[string]string
	byStore             map[storeRef]*conversion.Resource
	// secretKeys are the places of data keys that spec.data has.
	secretKeys map[string]dataPlace
	defaultRef storeRef
	properties []propertyItem
	// hasJWK is true if a key must be written as JWK.
	hasJWK bool
}

// dataPlace is a place in spec.data of a resource.
type dataPlace struct {
	resource *conversion.Resource
	index    int
}

func (s *Source) convertExternalSecret(o *conversion.Object) {
	labels, annotations := o.ReadMetadata()
	if f := o.Root.Get("metadata", "annotations", "force-sync"); f.Exists() {
		o.Say(conversion.Note, f, "akv2k8s has no such annotation; to read the vault at once, change the resource")
		delete(annotations, "force-sync")
	}
	e := &externalSecret{Object: o, source: s, spec: o.Root.Get("spec"), baseName: o.Name, labels: labels,
		annotations: annotations}
	e.convert()
}

func (s *Source) convertClusterExternalSecret(o *conversion.Object) {
	o.ReadMetadata()
	spec := o.Root.Get("spec")
	namespaces := spec.Get("namespaces").Texts()
	if len(namespaces) == 0 {
		o.Stay(spec.Get("namespaceSelectors"), "akv2k8s has no resources for several namespaces; create one in each "+
			"namespace, for example with Helm, Argo CD or Flux")
		return
	}
	for _, key := range []string{"namespaceSelector", "namespaceSelectors"} {
		if f := spec.Get(key); f.Exists() {
			o.Say(conversion.LeftOut, f,
				"akv2k8s has no resources for several namespaces; create one in each namespace that matches")
		}
	}
	if f := spec.Get("refreshTime"); f.Exists() {
		o.Say(conversion.Changed, f, "namespaces are not looked for again")
	}
	name := spec.Get("externalSecretName").Text()
	if name == "" {
		name = o.Name
	}
	metadata := spec.Get("externalSecretMetadata")
	o.Namespace = namespaces[0]
	e := &externalSecret{Object: o, source: s, spec: spec.Get("externalSecretSpec"), baseName: name,
		labels: metadata.Get("labels").TextMap(), annotations: metadata.Get("annotations").TextMap()}
	e.convert()
	first := o.Resources
	for _, namespace := range namespaces[1:] {
		for _, r := range first {
			o.Resources = append(o.Resources, r.InNamespace(namespace))
			if identity := r.Spec.Vault.AzureIdentity; identity != nil {
				o.Values.AllowServiceAccount(namespace, identity.Name)
			}
		}
	}
}

func (e *externalSecret) convert() {
	e.byStore, e.secretKeys = map[storeRef]*conversion.Resource{}, map[string]dataPlace{}
	e.defaultRef = e.storeRefOf(e.spec.Get("secretStoreRef"))
	if reason := e.reasonToStay(); reason != "" {
		e.Stay(e.spec.Get("secretStoreRef"), reason)
		return
	}
	if kind := e.spec.Get("target", "manifest"); kind.Exists() && !isConfigMap(kind) {
		e.Stay(kind, "akv2k8s writes Secrets and ConfigMaps only; the ExternalSecret stays with External Secrets "+
			"Operator")
		return
	}
	template := e.spec.Get("target", "template")
	isTLS := e.convertTLSTemplate(template)
	if !isTLS {
		for _, item := range e.spec.Get("data").Items() {
			e.convertItem(item)
		}
		e.convertProperties()
		for _, entry := range e.spec.Get("dataFrom").Items() {
			e.convertDataFrom(entry)
		}
		e.convertTemplate(template)
	}
	if len(e.Resources) == 0 {
		e.Stay(e.spec.Get("data"),
			"nothing of it can be converted; the ExternalSecret stays with External Secrets Operator")
		return
	}
	e.convertTarget(isTLS)
	e.convertRefresh()
	for _, r := range e.Resources {
		r.Collapse()
	}
}

// isConfigMap reports whether a manifest is a ConfigMap.
func isConfigMap(manifest manifest.Field) bool {
	version := manifest.Get("apiVersion").Text()
	return manifest.Get("kind").Text() == "ConfigMap" && (version == "v1" || version == "")
}

// reasonToStay returns why none of the values can be read, or an empty text.
func (e *externalSecret) reasonToStay() string {
	for _, list := range []string{"data", "dataFrom"} {
		for _, item := range e.spec.Get(list).Items() {
			if item.Get("sourceRef").Exists() {
				return ""
			}
		}
	}
	_, reason := e.source.vaultOf(e.defaultRef)
	return reason
}

func (e *externalSecret) storeRefOf(f manifest.Field) storeRef {
	ref := storeRef{kind: f.Get("kind").Text(), namespace: e.Namespace, name: f.Get("name").Text()}
	if ref.kind == "" {
		ref.kind = kindSecretStore
	}
	return ref
}

// resourceOf returns the resource of a store, which it adds if it is missing. It is nil, with a reason, if the store
// has no vault.
func (e *externalSecret) resourceOf(source manifest.Field) (*conversion.Resource, string) {
	ref := e.defaultRef
	if source.Exists() {
		if source.Get("generatorRef").Exists() {
			return nil, "akv2k8s generates no values"
		}
		ref = e.storeRefOf(source.Get("storeRef"))
	}
	if r := e.byStore[ref]; r != nil {
		return r, ""
	}
	s, reason := e.source.vaultOf(ref)
	if reason != "" {
		return nil, reason
	}
	name := e.baseName
	if len(e.Resources) > 0 {
		name = conversion.NameWithSuffix(name, "-"+ref.name)
	}
	r := e.AddResource(name)
	r.Metadata.Labels, r.Metadata.Annotations = e.labels, e.annotations
	r.Spec.Vault.Name = s.vault
	e.setIdentity(r, s)
	e.byStore[ref] = r
	return r, ""
}

// setIdentity sets the ServiceAccount that reads the vault.
func (e *externalSecret) setIdentity(r *conversion.Resource, s *store) {
	if s.serviceAccount == "" {
		return
	}
	r.Spec.Vault.AzureIdentity = &v2beta1.AzureIdentity{Name: s.serviceAccount}
	const place = "spec.vault.azureIdentity"
	if s.kind == kindClusterSecretStore && s.accountNamespace != "" && s.accountNamespace != e.Namespace {
		r.Say(conversion.LeftOut, e.spec.Get("secretStoreRef"), place, fmt.Sprintf("the store uses ServiceAccount %q "+
			"of namespace %q; create one with the same annotations in the namespace of the resource",
			s.serviceAccount, s.accountNamespace))
	}
	if e.Namespace == "" {
		r.Say(conversion.Note, e.spec.Get("secretStoreRef"), place,
			"add the namespace of the resource with this ServiceAccount to identity.serviceAccounts")
		return
	}
	e.Values.AllowServiceAccount(e.Namespace, s.serviceAccount)
}

// remoteObject is the object of a remoteRef.
type remoteObject struct {
	object    v2beta1.AzureKeyVaultObject
	transform []v2beta1.Transform
	property  string
}

// readRemoteRef reads a remoteRef. It returns a reason if the value can't be had.
func readRemoteRef(ref manifest.Field) (o remoteObject, f manifest.Field, reason string) {
	parts := strings.Split(ref.Get("key").Text(), "/")
	kind, name := "secret", parts[0]
	if len(parts) > 1 {
		kind, name = parts[0], parts[1] // External Secrets Operator ignores further parts
	}
	types := map[string]v2beta1.AzureKeyVaultObjectType{"secret": v2beta1.ObjectTypeSecret,
		"cert": v2beta1.ObjectTypeCertificate, "key": v2beta1.ObjectTypeKey}
	o.object = v2beta1.AzureKeyVaultObject{Name: name, Type: types[kind], Version: ref.Get("version").Text()}
	if o.object.Type == "" {
		return o, ref.Get("key"), "the type of the object is not known; use secret/, cert/ or key/"
	}
	if policy := ref.Get("metadataPolicy"); policy.Text() != "" && policy.Text() != "None" {
		return o, policy, "akv2k8s reads no tags; store the value as a secret"
	}
	o.property = ref.Get("property").Text()
	decoding := ref.Get("decodingStrategy")
	switch decoding.Text() {
	case "", "None":
	case "Base64":
		o.transform = []v2beta1.Transform{"base64decode"}
	default:
		return o, decoding, "akv2k8s decodes base64 with the standard alphabet only (Base64)"
	}
	return o, manifest.Field{}, ""
}

// convertItem converts one item of spec.data.
func (e *externalSecret) convertItem(item manifest.Field) {
	key := item.Get("secretKey").Text()
	r, reason := e.resourceOf(item.Get("sourceRef"))
	if reason != "" {
		e.Say(conversion.LeftOut, item, "%s", reason)
		return
	}
	ref := item.Get("remoteRef")
	remote, at, reason := readRemoteRef(ref)
	if reason != "" {
		r.LeaveOut(item, at, r.NextData(), reason+conversion.Dropped(key))
		return
	}
	if strategy := ref.Get("conversionStrategy"); strategy.Exists() {
		strategy.Text() // it converts the keys of dataFrom only
	}
	if old, taken := e.secretKeys[key]; taken {
		r.Say(conversion.Changed, item.Get("secretKey"), r.NextData(),
			"an earlier item has the same key; the last one counts")
		old.resource.Spec.Data = slices.Delete(old.resource.Spec.Data, old.index, old.index+1)
		e.forget(old)
	}
	data := v2beta1.AzureKeyVaultData{Object: remote.object, DataKey: key, Transform: remote.transform}
	if remote.property != "" {
		e.properties = append(e.properties, propertyItem{r, item, data, remote.property})
		return
	}
	e.sayEncoding(r, ref.Get("key"), remote.object.Type)
	e.secretKeys[key] = dataPlace{r, len(r.Spec.Data)}
	r.Spec.Data = append(r.Spec.Data, data)
}

// forget removes a data key after its item was removed.
func (e *externalSecret) forget(removed dataPlace) {
	for key, place := range e.secretKeys {
		switch {
		case place.resource != removed.resource:
		case place.index == removed.index:
			delete(e.secretKeys, key)
		case place.index > removed.index:
			e.secretKeys[key] = dataPlace{place.resource, place.index - 1}
		}
	}
}

// sayEncoding reports objects whose encoding differs.
func (e *externalSecret) sayEncoding(r *conversion.Resource, key manifest.Field, kind v2beta1.AzureKeyVaultObjectType) {
	switch kind {
	case v2beta1.ObjectTypeCertificate:
		r.Say(conversion.LeftOut, key, r.NextData(), "the output has the certificate as PEM, not as DER; programs "+
			"that read DER must change")
	case v2beta1.ObjectTypeKey:
		e.hasJWK = true
		r.Say(conversion.LeftOut, key, r.NextData(), "the JWK has the public part of the key (kty and its numbers), "+
			"without kid and key_ops")
	case v2beta1.ObjectTypeSecret, v2beta1.ObjectTypeMultiKeyValueSecret:
	}
}

// The limits of spec.refreshInterval.
const (
	shortestInterval = time.Second
	longestInterval  = 8760 * time.Hour
)

// convertRefresh converts refreshInterval and refreshPolicy.
func (e *externalSecret) convertRefresh() {
	policy := e.spec.Get("refreshPolicy")
	var value *intstr.IntOrString
	if interval, ok := e.readInterval(); ok {
		text := intstr.FromString(interval)
		value = &text
	}
	switch policy.Text() {
	case "", "Periodic":
	case "OnChange", "CreatedOnce":
		value = readOnce()
	default:
		e.Say(conversion.LeftOut, policy, "the policy is not known")
	}
	if value != nil && value.StrVal == "0" {
		value = readOnce()
	}
	for _, r := range e.Resources {
		r.Spec.RefreshInterval = value
	}
	if policy.Text() == "CreatedOnce" {
		e.Resources[0].Say(conversion.Changed, policy, "spec.refreshInterval",
			"akv2k8s also reads the vault again if the resource changes, or its output is edited or deleted")
	}
}

func readOnce() *intstr.IntOrString {
	value := intstr.FromInt32(0)
	return &value
}

// readInterval returns the refresh interval as akv2k8s takes it; 0 means to read once. It returns false for a text that
// is no interval.
func (e *externalSecret) readInterval() (string, bool) {
	field := e.spec.Get("refreshInterval")
	text := field.Text()
	if text == "" {
		text = "1h"
	}
	duration, err := time.ParseDuration(text)
	switch {
	case err != nil || duration < 0 || duration > longestInterval:
		e.Say(conversion.LeftOut, field,
			"it is not a duration from 1s to 8760h; the installation's interval applies")
		return "", false
	case duration == 0:
		return "0", true
	case duration < shortestInterval:
		e.Say(conversion.Changed, field, "the shortest interval is 1s")
		return "1s", true
	}
	return text, true
}
