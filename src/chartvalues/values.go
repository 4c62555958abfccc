package chartvalues

// Values is the tree of all values of the chart.
type Values struct {
	Name             *string   `json:"name" chart:"is=label"`
	NameOverride     *string   `json:"nameOverride" chart:"is=label"`
	FullnameOverride *string   `json:"fullnameOverride" chart:"is=service"`
	CommonLabels     StringMap `json:"commonLabels"`
	Global           Global    `json:"global"`

	ExtraObjects ManifestList `json:"extraObjects"`

	VaultRules                   []VaultRule `json:"vaultRules"`
	VaultLimits                  VaultLimits `json:"vaultLimits"`
	Vaults                       RawObject   `json:"vaults"`
	Identity                     Identity    `json:"identity"`
	AddAzurePodIdentityException bool        `json:"addAzurePodIdentityException"`
	CloudConfig                  string      `json:"cloudConfig" chart:"minLength=1"`
	WatchAllNamespaces           bool        `json:"watchAllNamespaces"`
	AzureKeyVaultResyncPeriod    QuotableInt `json:"azureKeyVaultResyncPeriod" chart:"min=1"`
	KubeResyncPeriod             QuotableInt `json:"kubeResyncPeriod" chart:"min=0"`

	CRDs        CRDs        `json:"crds"`
	Controller  Controller  `json:"controller"`
	EnvInjector EnvInjector `json:"env_injector"`

	// Keys of older 2.x charts, and the key by which a parent chart decides whether to install this chart.
	RBAC                  IgnoredValue `json:"rbac" chart:"legacy"`
	RunningInsideAzureAKS IgnoredValue `json:"runningInsideAzureAks" chart:"legacy"`
	Enabled               IgnoredValue `json:"enabled" chart:"parent"`
}

// Global has the values that apply to every component. Helm merges the global of a parent chart into it, so it accepts
// other keys.
type Global struct {
	LogLevel            string         `json:"logLevel" chart:"checked=info|debug|trace"`
	LogFormat           string         `json:"logFormat" chart:"checked=text|json"`
	KeyVaultAuth        string         `json:"keyVaultAuth" chart:"checked=azureCloudConfig|environment|environment-azidentity"`
	UserDefinedMSI      UserDefinedMSI `json:"userDefinedMSI"`
	Env                 ScalarMap      `json:"env"`
	EnvFromSecret       NameList       `json:"envFromSecret"`
	ExtraCACertificates *string        `json:"extraCACertificates" chart:"is=pem"`
	ImageRegistry       *string        `json:"imageRegistry" chart:"is=registry"`
	FIPS                bool           `json:"fips"`
	ImagePullSecrets    NameList       `json:"imagePullSecrets"`
	NodeSelector        StringMap      `json:"nodeSelector"`
	Tolerations         RawObjectList  `json:"tolerations" chart:"kubernetes=Toleration"`
	Cloud               *string        `json:"cloud" chart:"checked=AzurePublicCloud|AzureUSGovernmentCloud|AzureChinaCloud|AzureCloud|AzureUSGovernment"`
	CustomCloud         CustomCloud    `json:"customCloud"`
	Metrics             GlobalMetrics  `json:"metrics"`
	RBAC                GlobalRBAC     `json:"rbac"`
}

// UserDefinedMSI is a user-assigned identity of the node, set here instead of in the node's azure.json.
type UserDefinedMSI struct {
	Enabled        bool    `json:"enabled"`
	MSI            *string `json:"msi"`
	SubscriptionID *string `json:"subscriptionId"`
	TenantID       *string `json:"tenantId"`
	AzureCloudType *string `json:"azureCloudType"`
}

// CustomCloud is a private cloud.
type CustomCloud struct {
	Authority         *string `json:"authority" chart:"pattern=^(https://.+)?$"`
	VaultDNSSuffix    *string `json:"vaultDNSSuffix"`
	RegistryDNSSuffix *string `json:"registryDNSSuffix"`
	VaultAudience     *string `json:"vaultAudience" chart:"pattern=^(https://.+)?$"`
}

// GlobalRBAC configures the roles of both components.
type GlobalRBAC struct {
	Create              bool         `json:"create"`
	Aggregate           bool         `json:"aggregate"`
	PodSecurityPolicies IgnoredValue `json:"podSecurityPolicies" chart:"legacy"`
}

// VaultRule allows namespaces to read vaults.
type VaultRule struct {
	Namespaces []string `json:"namespaces"`
	Vaults     []string `json:"vaults"`
}

// CRDs configures the hook Job that updates the CustomResourceDefinition.
type CRDs struct {
	Upgrade   bool      `json:"upgrade"`
	Resources RawObject `json:"resources" chart:"kubernetes=ResourceRequirements"`
}

// VaultLimits are the maximum numbers of vault calls in ten seconds.
type VaultLimits struct {
	PerVault        QuotableInt `json:"perVault" chart:"min=2"`
	PerSubscription QuotableInt `json:"perSubscription" chart:"min=2"`
}

// Identity configures the ServiceAccounts whose identity resources can use to read vaults.
type Identity struct {
	ServiceAccounts []NamespaceServiceAccounts `json:"serviceAccounts"`
	AllNamespaces   bool                       `json:"allNamespaces"`
}

// NamespaceServiceAccounts are the ServiceAccounts of one namespace.
type NamespaceServiceAccounts struct {
	Namespace string   `json:"namespace"`
	Names     []string `json:"names"`
	Default   *string  `json:"default"`
}
