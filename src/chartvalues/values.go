package chartvalues

// Values is the whole tree.
type Values struct {
	Name             *string `json:"name" chart:"is=label"`
	NameOverride     *string `json:"nameOverride" chart:"is=label"`
	FullnameOverride *string `json:"fullnameOverride" chart:"is=service"`
	CommonLabels     Texts   `json:"commonLabels"`
	Global           Global  `json:"global"`

	ExtraObjects Manifests `json:"extraObjects"`

	VaultRules                   []VaultRule `json:"vaultRules"`
	VaultLimits                  VaultLimits `json:"vaultLimits"`
	Vaults                       Object      `json:"vaults"`
	Identity                     Identity    `json:"identity"`
	AddAzurePodIdentityException bool        `json:"addAzurePodIdentityException"`
	CloudConfig                  string      `json:"cloudConfig" chart:"minLength=1"`
	WatchAllNamespaces           bool        `json:"watchAllNamespaces"`
	AzureKeyVaultResyncPeriod    Int         `json:"azureKeyVaultResyncPeriod" chart:"min=1"`
	KubeResyncPeriod             Int         `json:"kubeResyncPeriod" chart:"min=0"`

	CRDs        CRDs        `json:"crds"`
	Controller  Controller  `json:"controller"`
	EnvInjector EnvInjector `json:"env_injector"`

	// What charts 2.x had once, and what a parent chart decides by whether to install this one.
	RBAC                  Anything `json:"rbac" chart:"legacy"`
	RunningInsideAzureAKS Anything `json:"runningInsideAzureAks" chart:"legacy"`
	Enabled               Anything `json:"enabled" chart:"parent"`
}

// Global is what holds for every component. Helm merges a parent chart's whole global into it, so other keys are
// accepted.
type Global struct {
	LogLevel            string         `json:"logLevel" chart:"checked=info|debug|trace"`
	LogFormat           string         `json:"logFormat" chart:"checked=text|json"`
	KeyVaultAuth        string         `json:"keyVaultAuth" chart:"checked=azureCloudConfig|environment|environment-azidentity"`
	UserDefinedMSI      UserDefinedMSI `json:"userDefinedMSI"`
	Env                 Scalars        `json:"env"`
	EnvFromSecret       Names          `json:"envFromSecret"`
	ExtraCACertificates *string        `json:"extraCACertificates" chart:"is=pem"`
	ImageRegistry       *string        `json:"imageRegistry" chart:"is=registry"`
	FIPS                bool           `json:"fips"`
	ImagePullSecrets    Names          `json:"imagePullSecrets"`
	NodeSelector        Texts          `json:"nodeSelector"`
	Tolerations         Objects        `json:"tolerations" chart:"kubernetes=Toleration"`
	Cloud               *string        `json:"cloud" chart:"checked=AzurePublicCloud|AzureUSGovernmentCloud|AzureChinaCloud|AzureCloud|AzureUSGovernment"`
	CustomCloud         CustomCloud    `json:"customCloud"`
	Metrics             GlobalMetrics  `json:"metrics"`
	RBAC                GlobalRBAC     `json:"rbac"`
}

// UserDefinedMSI is one user-assigned identity of the node, named here instead of in the node's azure.json.
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

// GlobalRBAC are the rights of both components.
type GlobalRBAC struct {
	Create              bool     `json:"create"`
	Aggregate           bool     `json:"aggregate"`
	PodSecurityPolicies Anything `json:"podSecurityPolicies" chart:"legacy"`
}

// VaultRule lets namespaces read vaults.
type VaultRule struct {
	Namespaces []string `json:"namespaces"`
	Vaults     []string `json:"vaults"`
}

// CRDs says how the CustomResourceDefinition is kept.
type CRDs struct {
	Upgrade   bool   `json:"upgrade"`
	Resources Object `json:"resources" chart:"kubernetes=ResourceRequirements"`
}

// VaultLimits are the most calls in ten seconds.
type VaultLimits struct {
	PerVault        Int `json:"perVault" chart:"min=2"`
	PerSubscription Int `json:"perSubscription" chart:"min=2"`
}

// Identity says which ServiceAccounts vaults may be read as.
type Identity struct {
	ServiceAccounts []TenantAccounts `json:"serviceAccounts"`
	AllNamespaces   bool             `json:"allNamespaces"`
}

// TenantAccounts are the ServiceAccounts of one namespace.
type TenantAccounts struct {
	Namespace string   `json:"namespace"`
	Names     []string `json:"names"`
	Default   *string  `json:"default"`
}
