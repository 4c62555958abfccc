package eso

import (
	"fmt"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/convert/conversion"
	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
)

// The kinds of stores of External Secrets Operator.
const (
	kindSecretStore        = "SecretStore"
	kindClusterSecretStore = "ClusterSecretStore"
)

// store is a SecretStore or ClusterSecretStore.
type store struct {
	kind, namespace, name string
	// vault is the name of the vault; empty if the store has none that akv2k8s can read.
	vault string
	// backend is the provider of the store, such as aws.
	backend string
	// serviceAccount reads the vault, if it is set. It is in accountNamespace, or in the namespace of each resource if
	// that is empty.
	serviceAccount, accountNamespace string
}

// storeRef refers to a store.
type storeRef struct{ kind, namespace, name string }

// Collect implements conversion.Source. It reads a store before the objects that refer to it.
func (s *Source) Collect(o *conversion.Object) {
	if o.Kind != kindSecretStore && o.Kind != kindClusterSecretStore {
		return
	}
	one := &store{kind: o.Kind, namespace: o.Namespace, name: o.Name}
	provider := o.Root.Get("spec").Get("provider")
	for _, backend := range provider.Fields() {
		one.backend = backend.Key
	}
	if azure := provider.Get("azurekv"); azure.IsMapping() {
		one.vault, _ = conversion.ParseVaultURL(conversion.PeekText(azure, "vaultUrl"))
		one.serviceAccount = conversion.PeekText(azure, "serviceAccountRef", "name")
		one.accountNamespace = conversion.PeekText(azure, "serviceAccountRef", "namespace")
	}
	s.stores = append(s.stores, one)
}

// findStore returns the store of a reference, or nil. A missing namespace matches every namespace, because manifests
// often get it when they are applied.
func (s *Source) findStore(ref storeRef) *store {
	for _, one := range s.stores {
		sameNamespace := one.kind == kindClusterSecretStore || one.namespace == ref.namespace || one.namespace == "" ||
			ref.namespace == ""
		if one.kind == ref.kind && one.name == ref.name && sameNamespace {
			return one
		}
	}
	for _, name := range []string{ref.name, ""} {
		if vault := s.vaults[name]; vault != "" {
			return &store{kind: ref.kind, namespace: ref.namespace, name: ref.name, vault: vault, backend: "azurekv"}
		}
	}
	return nil
}

// cloudNames are the values of global.cloud by the DNS suffix of vaults. That of the public cloud is the default.
func cloudNames() map[string]string {
	return map[string]string{"vault.azure.net": "", "vault.usgovcloudapi.net": "AzureUSGovernment",
		"vault.azure.cn": "AzureChinaCloud"}
}

// storeConversion converts a store of the provider azurekv to values.
type storeConversion struct {
	*conversion.Object
	azure manifest.Field
	store *store
}

func (s *Source) convertStore(o *conversion.Object) {
	spec := o.Root.Get("spec")
	one := s.findStore(storeRef{o.Kind, o.Namespace, o.Name})
	if one.backend != "azurekv" {
		o.Say(conversion.LeftOut, spec.Get("provider"), "akv2k8s reads Azure Key Vault only; the store stays with "+
			"External Secrets Operator")
		o.Keep()
		return
	}
	o.ReadMetadata()
	for _, key := range []string{"labels", "annotations"} {
		if f := o.Root.Get("metadata", key); len(f.Fields()) > 0 {
			o.Say(conversion.Note, f, "the values have no labels and annotations of stores")
		}
	}
	c := storeConversion{o, spec.Get("provider", "azurekv"), one}
	if spec.Get("controller").Text() != "" {
		o.Say(conversion.Changed, spec.Get("controller"), "akv2k8s has no classes of stores; objectLabels select the "+
			"resources of an installation")
	}
	for _, key := range []string{"retrySettings", "refreshInterval"} {
		if f := spec.Get(key); f.Exists() {
			o.Say(conversion.Changed, f, "akv2k8s retries by its own rules, and has no interval for a store")
		}
	}
	c.convertVault()
	c.convertAuth()
	c.convertConditions(spec.Get("conditions"))
	o.Say(conversion.Note, manifest.Field{}, "the store becomes spec.vault of each resource, and values of the chart")
}

func (c storeConversion) convertVault() {
	address := c.azure.Get("vaultUrl")
	_, suffix := conversion.ParseVaultURL(address.Text())
	c.azure.Get("useAzureSDK").Discard()
	if c.store.vault == "" {
		c.Say(conversion.LeftOut, address, "it is not the URL of a vault, such as https://my-vault.vault.azure.net")
		return
	}
	cloud, known := cloudNames()[suffix]
	environment := c.azure.Get("environmentType")
	switch name := environment.Text(); name {
	case "", "PublicCloud", "USGovernmentCloud", "ChinaCloud":
		if !known {
			c.Say(conversion.LeftOut, address,
				"the vault is not in the cloud of environmentType; see global.customCloud")
		}
		c.setCloud(environment, cloud)
	case "AzureStackCloud":
		c.convertCustomCloud(suffix)
	default:
		c.Say(conversion.LeftOut, environment, "akv2k8s has no such cloud")
	}
}

func (c storeConversion) setCloud(f manifest.Field, cloud string) {
	if cloud != "" && !c.Values.Set(cloud, "global", "cloud") {
		c.Say(conversion.LeftOut, f, "an installation has one cloud, and another store has another one")
	}
}

func (c storeConversion) convertCustomCloud(suffix string) {
	custom := c.azure.Get("customCloudConfig")
	values := c.Values
	isSet := values.Set(custom.Get("activeDirectoryEndpoint").Text(), "global", "customCloud", "authority")
	if written := custom.Get("keyVaultDNSSuffix").Text(); written != "" {
		suffix = strings.TrimPrefix(written, ".")
	}
	isSet = values.Set(suffix, "global", "customCloud", "vaultDNSSuffix") && isSet
	if endpoint := custom.Get("keyVaultEndpoint"); endpoint.Text() != "" {
		isSet = values.Set(strings.TrimSuffix(endpoint.Text(), "/"), "global", "customCloud", "vaultAudience") && isSet
	}
	custom.Get("resourceManagerEndpoint").Discard() // akv2k8s does not call it
	if !isSet {
		c.Say(conversion.LeftOut, custom, "an installation has one cloud, and another store has another one")
	}
	if audience := custom.Get("audience"); audience.Exists() {
		c.Say(conversion.LeftOut, audience, "tokens of ServiceAccounts have the audience api://AzureADTokenExchange")
	}
}

// convertAuth converts the identity of the store.
func (c storeConversion) convertAuth() {
	method := c.azure.Get("authType")
	if c.store.serviceAccount == "" && c.azure.Get("serviceAccountRef").Exists() {
		c.Say(conversion.LeftOut, c.azure.Get("serviceAccountRef"), "it has no name")
	}
	switch method.Text() {
	case "", "ServicePrincipal":
		c.convertServicePrincipal()
	case "ManagedIdentity":
		c.convertManagedIdentity()
	case "WorkloadIdentity":
		c.convertWorkloadIdentity()
	default:
		c.Say(conversion.LeftOut, method, "the method is not known")
		c.azure.Discard()
		return
	}
	for _, key := range []string{"authSecretRef", "serviceAccountRef", "identityId"} {
		if f := c.azure.Get(key); f.Exists() {
			c.LeaveOutUnread(f, "authType does not use it")
		}
	}
}

// secretVariables are the parts of a service principal in Secrets, with the variables that have them in the components.
func secretVariables() []struct{ key, variable string } {
	return []struct{ key, variable string }{{"tenantId", "AZURE_TENANT_ID"}, {"clientId", "AZURE_CLIENT_ID"},
		{"clientSecret", "AZURE_CLIENT_SECRET"}}
}

// principalName identifies a service principal by the names of its Secrets.
func (c storeConversion) principalName() string {
	secret := c.azure.Get("authSecretRef")
	name := "service principal " + conversion.PeekText(c.azure, "tenantId")
	for _, key := range []string{"tenantId", "clientId", "clientSecret", "clientCertificate"} {
		name += " " + conversion.PeekText(secret, key, "name") + "/" + conversion.PeekText(secret, key, "key")
	}
	return name
}

func (c storeConversion) convertServicePrincipal() {
	secret, values := c.azure.Get("authSecretRef"), c.Values
	if !c.ClaimIdentity(c.azure.Get("authType"), c.principalName()) {
		secret.Discard()
		c.azure.Get("tenantId").Discard()
		return
	}
	values.Set("environment", "global", "keyVaultAuth")
	if tenant := c.azure.Get("tenantId").Text(); tenant != "" {
		values.Set(tenant, "global", "env", "AZURE_TENANT_ID")
	}
	var variables []any
	for _, one := range secretVariables() {
		f := secret.Get(one.key)
		if !f.Exists() {
			continue
		}
		name, key := f.Get("name").Text(), f.Get("key").Text()
		variables = append(variables, map[string]any{"name": one.variable, "valueFrom": map[string]any{
			"secretKeyRef": map[string]any{"name": name, "key": key}}})
		c.sayCopy(f)
	}
	if len(variables) > 0 {
		values.Set(variables, "controller", "extraEnv")
		values.Set(variables, "env_injector", "extraEnv")
	}
	if certificate := secret.Get("clientCertificate"); certificate.Exists() {
		c.convertCertificate(certificate)
	}
	if c.store.kind == kindSecretStore {
		c.Say(conversion.Changed, c.azure.Get("authType"), "the installation uses this identity for all namespaces; "+
			"vaultRules restrict which namespaces read which vaults")
	}
}

// convertCertificate mounts the Secret of a certificate.
func (c storeConversion) convertCertificate(certificate manifest.Field) {
	name, key := certificate.Get("name").Text(), certificate.Get("key").Text()
	values := c.Values
	values.Set("/azure-credentials/"+key, "global", "env", "AZURE_CERTIFICATE_PATH")
	for _, component := range []string{"controller", "env_injector"} {
		values.Set([]any{map[string]any{"name": "azure-credentials", "secret": map[string]any{"secretName": name}}},
			component, "extraVolumes")
		values.Set([]any{map[string]any{"name": "azure-credentials", "mountPath": "/azure-credentials",
			"readOnly": true}}, component, "extraVolumeMounts")
	}
	c.sayCopy(certificate)
}

// sayCopy reports that the components need a Secret in their namespace.
func (c storeConversion) sayCopy(secret manifest.Field) {
	namespace := secret.Get("namespace").Text()
	if namespace == "" {
		namespace = c.Namespace
	}
	c.Say(conversion.Note, secret,
		"copy Secret %q of namespace %q to the namespace of akv2k8s; the values use its key %q",
		secret.Get("name").Text(), namespace, secret.Get("key").Text())
}

func (c storeConversion) convertManagedIdentity() {
	identity := c.azure.Get("identityId")
	id, tenant := identity.Text(), c.azure.Get("tenantId").Text()
	if !strings.HasPrefix(id, "/") {
		f := c.azure.Get("authType")
		if identity.Exists() {
			f = identity
		}
		c.SetManagedIdentity(f, id) // a managed identity has one tenant
		return
	}
	if !c.ClaimIdentity(identity, "managed identity "+id) {
		return
	}
	c.Values.Set(true, "global", "userDefinedMSI", "enabled")
	c.Values.Set(id, "global", "userDefinedMSI", "msi")
	if tenant == "" {
		c.Say(conversion.Note, manifest.Field{}, "set global.userDefinedMSI.tenantId to the tenant of the identity")
		return
	}
	c.Values.Set(tenant, "global", "userDefinedMSI", "tenantId")
}

func (c storeConversion) convertWorkloadIdentity() {
	account := c.azure.Get("serviceAccountRef")
	tenant := c.azure.Get("tenantId")
	if tenant.Text() != "" {
		c.Say(conversion.Note, tenant, "if it is not the tenant of the installation, set the annotation "+
			"azure.workload.identity/tenant-id of the ServiceAccount")
	}
	annotations := map[string]string{"clientId": "client-id", "tenantId": "tenant-id"}
	for _, key := range conversion.SortedKeys(annotations) {
		if f := c.azure.Get("authSecretRef", key); f.Exists() {
			c.Say(conversion.LeftOut, f, "it must be an annotation of the ServiceAccount: azure.workload.identity/%s",
				annotations[key])
		}
	}
	if c.store.serviceAccount == "" {
		c.convertOperatorIdentity()
		return
	}
	account.Get("name").Text()
	account.Get("namespace").Text()
	audiences := account.Get("audiences")
	if all := audiences.Texts(); slices.ContainsFunc(all, func(a string) bool { return a != tokenAudience }) {
		c.Say(conversion.LeftOut, audiences, "tokens of ServiceAccounts have the audience "+tokenAudience)
	}
}

// convertOperatorIdentity converts the workload identity of the operator itself.
func (c storeConversion) convertOperatorIdentity() {
	if !c.ClaimIdentity(c.azure.Get("authType"), "workload identity of the operator") {
		return
	}
	c.Values.Set("environment", "global", "keyVaultAuth")
	for _, component := range []string{"controller", "env_injector"} {
		c.Values.Set("true", component, "podLabels", "azure.workload.identity/use")
	}
	c.Say(conversion.Note, manifest.Field{}, "set controller.serviceAccount.annotations and "+
		"env_injector.serviceAccount.annotations: azure.workload.identity/client-id is the client id of the identity "+
		"of External Secrets Operator")
}

// tokenAudience is the audience of tokens that Entra ID exchanges.
const tokenAudience = "api://AzureADTokenExchange"

// convertConditions converts the namespaces that may use the store.
func (c storeConversion) convertConditions(conditions manifest.Field) {
	var namespaces []string
	for _, condition := range conditions.Items() {
		namespaces = append(namespaces, condition.Get("namespaces").Texts()...)
		for _, key := range []string{"namespaceSelector", "namespaceRegexes"} {
			if f := condition.Get(key); f.Exists() {
				c.Say(conversion.LeftOut, f,
					"vaultRules have names of namespaces, with * for a part; add those that are meant")
			}
		}
	}
	switch {
	case len(namespaces) > 0:
		c.Values.RequireRules()
	case c.store.kind == kindSecretStore && c.Namespace != "":
		namespaces = []string{c.Namespace}
	default:
		namespaces = []string{"*"}
	}
	if c.store.vault != "" && (!conditions.Exists() || c.Values.HasRules()) {
		c.Values.AllowVault(c.store.vault, namespaces)
	}
}

// vaultOf returns the vault of a store reference, or a reason why there is none.
func (s *Source) vaultOf(ref storeRef) (*store, string) {
	one := s.findStore(ref)
	switch {
	case one == nil:
		return nil, fmt.Sprintf("the %s %q is not among the inputs; add its file with --filename, or name its vault "+
			"with --vault %s=VAULT", ref.kind, ref.name, ref.name)
	case one.vault == "" && one.backend != "azurekv":
		return nil, fmt.Sprintf("the %s %q is not of the provider azurekv", ref.kind, ref.name)
	case one.vault == "":
		return nil, fmt.Sprintf("the vaultUrl of the %s %q is not the URL of a vault", ref.kind, ref.name)
	}
	return one, ""
}
