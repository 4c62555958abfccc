package chartvalues

// Component has the values that the controller and the env-injector have in common.
type Component struct {
	Name                         *string        `json:"name"`
	Enabled                      bool           `json:"enabled"`
	Image                        ComponentImage `json:"image"`
	ImagePullSecrets             NameList       `json:"imagePullSecrets"`
	LogLevel                     *string        `json:"logLevel" chart:"enum=info|debug|trace|"`
	LogFormat                    *string        `json:"logFormat" chart:"enum=text|json|"`
	KeyVaultAuth                 *string        `json:"keyVaultAuth" chart:"enum=azureCloudConfig|environment|environment-azidentity|"`
	ReplicaCount                 QuotableInt    `json:"replicaCount" chart:"min=0"`
	RevisionHistoryLimit         *QuotableInt   `json:"revisionHistoryLimit"`
	ServiceAccount               ServiceAccount `json:"serviceAccount"`
	RBAC                         ComponentRBAC  `json:"rbac"`
	AutomountServiceAccountToken *bool          `json:"automountServiceAccountToken"`
	PodSecurityContext           RawObject      `json:"podSecurityContext" chart:"kubernetes=PodSecurityContext"`
	SecurityContext              RawObject      `json:"securityContext" chart:"kubernetes=SecurityContext"`
	HostUsers                    *bool          `json:"hostUsers"`
	PriorityClassName            *string        `json:"priorityClassName"`
	TerminationGracePeriod       *QuotableInt   `json:"terminationGracePeriodSeconds"`
	LivenessProbe                RawObject      `json:"livenessProbe" chart:"kubernetes=Probe"`
	ReadinessProbe               RawObject      `json:"readinessProbe" chart:"kubernetes=Probe"`
	DNSPolicy                    *string        `json:"dnsPolicy" chart:"enum=ClusterFirst|ClusterFirstWithHostNet|Default|None|"`
	DNSConfig                    RawObject      `json:"dnsConfig" chart:"kubernetes=PodDNSConfig"`
	Metrics                      Metrics        `json:"metrics"`
	Env                          ScalarMap      `json:"env"`
	EnvFromSecret                NameList       `json:"envFromSecret"`
	ExtraEnv                     RawObjectList  `json:"extraEnv" chart:"kubernetes=EnvVar"`
	ExtraArgs                    []string       `json:"extraArgs"`
	Labels                       StringMap      `json:"labels"`
	Annotations                  StringMap      `json:"annotations"`
	PodLabels                    StringMap      `json:"podLabels"`
	PodAnnotations               StringMap      `json:"podAnnotations"`
	Strategy                     RawObject      `json:"strategy" chart:"kubernetes=DeploymentStrategy"`
	Resources                    RawObject      `json:"resources" chart:"kubernetes=ResourceRequirements"`
	NodeSelector                 StringMap      `json:"nodeSelector"`
	Tolerations                  RawObjectList  `json:"tolerations" chart:"kubernetes=Toleration"`
	Affinity                     RawObject      `json:"affinity" chart:"kubernetes=Affinity"`
	TopologySpreadConstraints    RawObjectList  `json:"topologySpreadConstraints" chart:"kubernetes=TopologySpreadConstraint"`
	NetworkPolicy                NetworkPolicy  `json:"networkPolicy"`
	ExtraVolumes                 RawObjectList  `json:"extraVolumes" chart:"kubernetes=Volume"`
	ExtraVolumeMounts            RawObjectList  `json:"extraVolumeMounts" chart:"kubernetes=VolumeMount"`
}

// Controller has the values of the controller.
type Controller struct {
	Component
	Concurrency         QuotableInt         `json:"concurrency" chart:"min=1"`
	ExpiryWarning       Duration            `json:"expiryWarning"`
	WatchInjected       bool                `json:"watchInjected"`
	RolloutRestart      RolloutRestart      `json:"rolloutRestart"`
	Service             HTTPService         `json:"service"`
	PodDisruptionBudget PodDisruptionBudget `json:"podDisruptionBudget"`
}

// RolloutRestart configures restarts of workloads when an output or value that they use changes.
type RolloutRestart struct {
	Enabled       bool        `json:"enabled"`
	Window        Duration    `json:"window"`
	MaxConcurrent QuotableInt `json:"maxConcurrent" chart:"min=1;max=1000"`
	ArgoRollouts  bool        `json:"argoRollouts"`
}

// HTTPService configures the Service of a component.
type HTTPService struct {
	Type             string      `json:"type" chart:"enum=ClusterIP|NodePort|LoadBalancer"`
	ExternalHTTPPort QuotableInt `json:"externalHttpPort" chart:"min=1;max=65535"`
	InternalHTTPPort QuotableInt `json:"internalHttpPort" chart:"min=1;max=65535"`
	IPFamilyPolicy   *string     `json:"ipFamilyPolicy" chart:"enum=SingleStack|PreferDualStack|RequireDualStack|"`
	IPFamilies       []string    `json:"ipFamilies"`
	Annotations      StringMap   `json:"annotations"`
	Labels           StringMap   `json:"labels"`
}

// EnvInjector has the values of the env-injector.
type EnvInjector struct {
	Component
	EnvImage               Image                 `json:"envImage"`
	AuthService            bool                  `json:"authService"`
	LegacyAuthService      V1AuthService         `json:"legacyAuthService"`
	RBACSubjects           []RBACSubject         `json:"rbacSubjects"`
	Certificate            Certificate           `json:"certificate"`
	Inherit                V1CAMigration         `json:"inherit"`
	Delivery               string                `json:"delivery" chart:"enum=auto|image|init"`
	WatchNodes             bool                  `json:"watchNodes"`
	InjectProbes           bool                  `json:"injectProbes"`
	InitContainer          InitContainer         `json:"initContainer"`
	Cache                  ValueCache            `json:"cache"`
	TimeoutSeconds         QuotableInt           `json:"timeoutSeconds" chart:"min=1;max=30"`
	ClientCA               *string               `json:"clientCA" chart:"is=pem"`
	DockerImageInspection  DockerImageInspection `json:"dockerImageInspection"`
	Registries             Registries            `json:"registries"`
	SourceNamespaces       []string              `json:"sourceNamespaces"`
	NamespaceLabelSelector NamespaceLabel        `json:"namespaceLabelSelector"`
	NamespaceSelector      Selector              `json:"namespaceSelector"`
	ObjectSelector         Selector              `json:"objectSelector"`
	MatchConditions        []MatchCondition      `json:"matchConditions"`
	WebhookAnnotations     StringMap             `json:"webhookAnnotations"`
	Service                InjectorService       `json:"service"`
	PodDisruptionBudget    PodDisruptionBudget   `json:"podDisruptionBudget"`
	ReferenceWarnings      bool                  `json:"referenceWarnings"`
	FailurePolicy          string                `json:"failurePolicy" chart:"enum=Fail|Ignore"`
}

// V1CAMigration configures the hook Job that runs before an upgrade from akv2k8s 1.8.
type V1CAMigration struct {
	Enabled   bool      `json:"enabled"`
	Resources RawObject `json:"resources" chart:"kubernetes=ResourceRequirements"`
}

// InitContainer configures the init container that copies the injector into pods.
type InitContainer struct {
	Resources       RawObject           `json:"resources" chart:"kubernetes=ResourceRequirements"`
	SecurityContext InitSecurityContext `json:"securityContext"`
}

// InitSecurityContext has the configurable fields of its security context. All of them keep the pod within the
// restricted Pod Security Standard.
type InitSecurityContext struct {
	RunAsUser              *QuotableInt `json:"runAsUser" chart:"min=1"`
	RunAsGroup             *QuotableInt `json:"runAsGroup" chart:"min=0"`
	ReadOnlyRootFilesystem *bool        `json:"readOnlyRootFilesystem"`
}

// RBACSubject is a subject of a role binding.
type RBACSubject struct {
	Kind      string  `json:"kind" chart:"enum=User|Group|ServiceAccount"`
	Name      string  `json:"name"`
	Namespace *string `json:"namespace"`
	APIGroup  *string `json:"apiGroup"`
}

// Certificate configures the serving certificate of the webhook.
type Certificate struct {
	UseCertManager bool              `json:"useCertManager"`
	Keep           bool              `json:"keep"`
	Custom         CustomCertificate `json:"custom"`
}

// CustomCertificate is a user's own serving certificate, in base64.
type CustomCertificate struct {
	Enabled bool              `json:"enabled"`
	Server  ServerCertificate `json:"server"`
	CA      CACertificate     `json:"ca"`
}

// ServerCertificate wraps the key pair of a custom serving certificate.
type ServerCertificate struct {
	TLS KeyPair `json:"tls"`
}

// KeyPair is a certificate and its private key.
type KeyPair struct {
	Crt *string `json:"crt" chart:"is=base64"`
	Key *string `json:"key" chart:"is=base64"`
}

// CACertificate is the CA that signed a custom serving certificate.
type CACertificate struct {
	Crt *string `json:"crt" chart:"is=base64"`
}

// ValueCache configures the cache of values for starting pods.
type ValueCache struct {
	MaxAge Duration `json:"maxAge"`
}

// V1AuthService configures the auth protocol of akv2k8s 1.8.
type V1AuthService struct {
	Enabled     bool     `json:"enabled"`
	Namespaces  []string `json:"namespaces"`
	UpgradeTime Duration `json:"upgradeTime"`
}

// DockerImageInspection configures reading the configuration of images.
type DockerImageInspection struct {
	Timeout                  QuotableInt  `json:"timeout" chart:"min=1"`
	UseAKSCredentialsWithACS IgnoredValue `json:"useAksCredentialsWithACS" chart:"legacy"`
}

// Registries configures access to image registries.
type Registries struct {
	Allow           []string      `json:"allow"`
	PlainHTTP       []string      `json:"plainHTTP"`
	Mirrors         StringListMap `json:"mirrors"`
	Local           []string      `json:"local"`
	ClusterNetworks []string      `json:"clusterNetworks"`
	TagMaxAge       Duration      `json:"tagMaxAge"`
}

// NamespaceLabel is the label that enables injection in a namespace.
type NamespaceLabel struct {
	Label NameValue `json:"label"`
}

// NameValue is the name and value of a label.
type NameValue struct {
	Name  string `json:"name" chart:"minLength=1"`
	Value string `json:"value" chart:"minLength=1"`
}

// MatchCondition is a CEL expression by which the API server decides whether to call the webhook.
type MatchCondition struct {
	Name       string `json:"name"`
	Expression string `json:"expression"`
}

// Selector is a label selector of the webhook configuration.
type Selector struct {
	MatchExpressions RawObjectList `json:"matchExpressions" chart:"kubernetes=LabelSelectorRequirement"`
}

// InjectorService configures the env-injector's Service.
type InjectorService struct {
	HTTPService
	ExternalTLSPort  QuotableInt `json:"externalTlsPort" chart:"min=1;max=65535"`
	InternalTLSPort  QuotableInt `json:"internalTlsPort" chart:"min=1;max=65535"`
	ExternalMTLSPort QuotableInt `json:"externalMtlsPort" chart:"min=1;max=65535"`
	InternalMTLSPort QuotableInt `json:"internalMtlsPort" chart:"min=1;max=65535"`
}

// PodDisruptionBudget configures the PodDisruptionBudget of a component.
type PodDisruptionBudget struct {
	Enabled        bool          `json:"enabled"`
	MinAvailable   *IntOrPercent `json:"minAvailable"`
	MaxUnavailable *IntOrPercent `json:"maxUnavailable"`
}
