package convert

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/convert/conversion"
	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
)

const (
	kindAppConfigurationProvider = "AzureAppConfigurationProvider"
	// referenceContentType begins the content type of a Key Vault reference in App Configuration.
	referenceContentType = "application/vnd.microsoft.appconfig.keyvaultref+json"
)

// appSetting is a Key Vault reference in the export of an App Configuration store.
type appSetting struct {
	field         manifest.Field
	key, label    string
	vault         string
	object        v2beta1.AzureKeyVaultObject
	secretType    manifest.Field
	isConvertable bool
}

// appConfiguration converts the Key Vault references of the Azure App Configuration provider. The references are in the
// store, so they come from its export.
type appConfiguration struct{ settings []appSetting }

// Matches implements conversion.Source.
func (s *appConfiguration) Matches(o *conversion.Object) bool {
	return o.Group == "azconfig.io" || settingsOf(o.Root) != nil
}

// Convert implements conversion.Source.
func (s *appConfiguration) Convert(o *conversion.Object) {
	switch {
	case o.Group != "azconfig.io":
		o.Say(conversion.Note, manifest.Field{},
			"the export is not in the output; providers use its Key Vault references")
	case o.Kind == kindAppConfigurationProvider:
		s.convertProvider(o)
	default:
		o.Stay(o.Root, "the kind is not known; the object stays as it is")
	}
}

// settingsOf returns the settings of an export: of `az appconfig kv export --profile appconfig/kvset`, or of `az
// appconfig kv list`. It is nil if the document is none.
func settingsOf(root manifest.Field) []manifest.Field {
	list := root
	if root.IsMapping() && !root.Get("kind").Exists() {
		list = root.Get("items")
	}
	if !list.IsList() {
		return nil
	}
	settings := list.Items()
	for _, item := range settings {
		if !item.IsMapping() || !item.Get("key").IsText() ||
			!item.Get("value").Exists() && !item.Get("label").Exists() {
			return nil
		}
	}
	return settings
}

// Collect implements conversion.Source. It reads the Key Vault references of an export. Its other settings are no
// matter of akv2k8s.
func (s *appConfiguration) Collect(o *conversion.Object) {
	if o.Group == "azconfig.io" {
		return
	}
	for _, item := range settingsOf(o.Root) {
		contentType := item.Get("content_type").Peek() + item.Get("contentType").Peek()
		if !strings.HasPrefix(strings.ToLower(contentType), referenceContentType) {
			continue
		}
		one := appSetting{field: item, key: item.Get("key").Peek(), label: item.Get("label").Peek()}
		var value struct {
			URI string `json:"uri"`
		}
		if err := json.Unmarshal([]byte(item.Get("value").Peek()), &value); err == nil {
			one.vault, one.object, one.isConvertable = parseSecretURL(value.URI)
		}
		if tags := item.Get("tags"); tags.IsMapping() {
			one.secretType = tags.Get(".kubernetes.secret.type")
		}
		if !one.isConvertable {
			o.Say(conversion.LeftOut, item, "its value is not the URL of a secret")
			continue
		}
		s.settings = append(s.settings, one)
	}
	o.Root.Discard()
}

// parseSecretURL returns vault and object of the URL of a secret.
func parseSecretURL(text string) (vault string, object v2beta1.AzureKeyVaultObject, ok bool) {
	parsed, err := url.Parse(text)
	if err != nil {
		return "", object, false
	}
	parts := strings.Split(strings.Trim(parsed.Path, "/"), "/")
	if parts[0] != "secrets" || len(parts) < 2 || len(parts) > 3 {
		return "", object, false
	}
	vault, _ = conversion.ParseVaultURL(parsed.Scheme + "://" + parsed.Host)
	object = v2beta1.AzureKeyVaultObject{Name: parts[1], Type: v2beta1.ObjectTypeSecret}
	if len(parts) == 3 {
		object.Version = parts[2]
	}
	return vault, object, vault != ""
}

// configurationProvider is the conversion of an AzureAppConfigurationProvider.
type configurationProvider struct {
	*conversion.Object
	settings []appSetting
	secret   manifest.Field
	account  string
}

func (s *appConfiguration) convertProvider(o *conversion.Object) {
	c := configurationProvider{Object: o, settings: s.settings, secret: o.Root.Get("spec", "secret")}
	labels, annotations := o.ReadMetadata()
	if !c.secret.Exists() {
		o.Say(conversion.Note, manifest.Field{}, "the provider resolves no Key Vault references; it stays as it is")
		o.Keep()
		return
	}
	settings := c.selectedSettings()
	if len(settings) == 0 {
		o.Stay(c.secret, "its Key Vault references are in the App Configuration store; add them to the inputs: az "+
			"appconfig kv export --destination file --format json --profile appconfig/kvset --path FILE")
		return
	}
	c.convertAuth(c.secret.Get("auth"))
	name := c.secret.Get("target", "secretName").Text()
	byVault := map[string]*conversion.Resource{}
	for _, key := range conversion.SortedKeys(settings) {
		one := settings[key]
		r := byVault[one.vault]
		if r == nil {
			r = c.newResource(name, one.vault, len(byVault))
			r.Metadata.Labels, r.Metadata.Annotations = labels, annotations
			byVault[one.vault] = r
		}
		c.addSetting(r, key, one)
	}
	for _, r := range o.Resources {
		r.Collapse()
	}
	o.Say(conversion.Note, manifest.Field{},
		"the provider stays for its ConfigMap; the resources write another Secret, %q",
		conversion.NameWithSuffix(name, newSecretSuffix))
	o.Keep()
}

func (c configurationProvider) newResource(name, vault string, others int) *conversion.Resource {
	own := conversion.ToName(name)
	if others > 0 {
		own = conversion.NameWithSuffix(own, "-"+conversion.ToName(vault))
	}
	r := c.AddResource(own)
	r.Spec.Vault.Name = vault
	if c.account != "" {
		r.Spec.Vault.AzureIdentity = &v2beta1.AzureIdentity{Name: c.account}
		if c.Namespace != "" {
			c.Values.AllowServiceAccount(c.Namespace, c.account)
		}
	}
	r.Secret().Name = conversion.NameWithSuffix(name, newSecretSuffix)
	refresh := c.secret.Get("refresh")
	if interval := refresh.Get("interval").Text(); refresh.Get("enabled").Bool() && interval != "" {
		value := intstr.FromString(interval)
		r.Spec.RefreshInterval = &value
	}
	return r
}

// addSetting adds a Key Vault reference to a resource.
func (c configurationProvider) addSetting(r *conversion.Resource, key string, one appSetting) {
	say := func(kind conversion.Kind, f manifest.Field, text string) {
		r.Comment(r.NextData(), c.Report(kind, f, text))
	}
	if one.secretType.Exists() {
		say(conversion.LeftOut, one.secretType,
			"a Secret with a type needs a resource of its own; set spec.output.secret.type there")
	}
	if !conversion.DataKeyPattern.MatchString(key) {
		say(conversion.LeftOut, one.field.Get("key"), "the key is not a valid data key; it has other characters than "+
			"letters, digits, hyphens, underscores and dots, or none"+conversion.Dropped(key))
		return
	}
	r.Spec.Data = append(r.Spec.Data, v2beta1.AzureKeyVaultData{Object: one.object, DataKey: key})
}

// selectedSettings returns the Key Vault references that the provider's selectors choose, by the key of the Secret.
// Later selectors take precedence.
func (c configurationProvider) selectedSettings() map[string]appSetting {
	configuration := c.Root.Get("spec", "configuration")
	prefixes := configuration.Get("trimKeyPrefixes").Texts()
	all := map[string]appSetting{}
	add := func(matches func(appSetting) bool) {
		for _, one := range c.settings {
			if matches(one) {
				all[trimLongest(one.key, prefixes)] = one
			}
		}
	}
	selectors := configuration.Get("selectors").Items()
	if len(selectors) == 0 {
		add(func(one appSetting) bool { return one.label == "" })
	}
	for _, selector := range selectors {
		for _, key := range []string{"snapshotName", "tagFilters"} {
			if f := selector.Get(key); f.Exists() {
				c.Say(conversion.LeftOut, f, "convert selects settings by key and label only")
			}
		}
		keys := strings.Split(selector.Get("keyFilter").Text(), ",")
		label := strings.Trim(selector.Get("labelFilter").Text(), "\x00")
		add(func(one appSetting) bool { return one.label == label && matchesAny(one.key, keys) })
	}
	return all
}

func matchesAny(key string, filters []string) bool {
	for _, filter := range filters {
		prefix, isPrefix := strings.CutSuffix(filter, "*")
		if isPrefix && strings.HasPrefix(key, prefix) || !isPrefix && key == filter {
			return true
		}
	}
	return false
}

// trimLongest removes the longest of the prefixes that a key has.
func trimLongest(key string, prefixes []string) string {
	longest := ""
	for _, prefix := range prefixes {
		if strings.HasPrefix(key, prefix) && len(prefix) > len(longest) {
			longest = prefix
		}
	}
	return strings.TrimPrefix(key, longest)
}

// convertAuth converts the identity that reads the vaults.
func (c *configurationProvider) convertAuth(auth manifest.Field) {
	if vaults := auth.Get("keyVaults"); vaults.Exists() {
		c.Say(conversion.LeftOut, vaults, "akv2k8s has identities of namespaces, not of vaults; use a ServiceAccount "+
			"for each (identity.serviceAccounts)")
	}
	if reference := auth.Get("servicePrincipalReference"); reference.Exists() {
		c.Say(conversion.LeftOut, reference, "name a Secret with AZURE_TENANT_ID, AZURE_CLIENT_ID and "+
			"AZURE_CLIENT_SECRET in global.envFromSecret, and set global.keyVaultAuth to environment")
	}
	if client := auth.Get("managedIdentityClientId"); client.Text() != "" {
		c.SetManagedIdentity(client, client.Text())
	}
	workload := auth.Get("workloadIdentity")
	if !workload.Exists() {
		return
	}
	c.account = workload.Get("serviceAccountName").Text()
	for _, key := range []string{"managedIdentityClientId", "managedIdentityClientIdReference"} {
		if f := workload.Get(key); f.Exists() {
			c.Say(conversion.LeftOut, f, "%s", fmt.Sprintf("the client id must be the annotation "+
				"azure.workload.identity/client-id of %s", c.describeAccount()))
		}
	}
}

func (c *configurationProvider) describeAccount() string {
	if c.account == "" {
		return "a ServiceAccount of the namespace, or of those of akv2k8s"
	}
	return fmt.Sprintf("ServiceAccount %q", c.account)
}
