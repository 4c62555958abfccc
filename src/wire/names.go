package wire

// Group, kind and storage version of the AzureKeyVaultSecret. Written by users, read by all programs.
const (
	Group          = "spv.no"
	Kind           = "AzureKeyVaultSecret"
	StorageVersion = "v2beta1"
)

// Annotations and labels.
const (
	// AnnotationAdopt on an existing Secret or ConfigMap, written by users: the value "true" allows the controller to
	// add data keys; a comma-separated list of data keys allows it to overwrite these keys, too.
	AnnotationAdopt = "akv2k8s.io/adopt"
	// AnnotationKeysPrefix with a resource's uid is an annotation on an output with data of several owners, written and
	// read by the controller: the resource's name and its data keys.
	AnnotationKeysPrefix = "keys.akv2k8s.io/"
	// AnnotationSpareOf on a Secret or ConfigMap, written and read by the controller: the name of an output that is
	// being deleted and recreated, and whose data the object holds meanwhile.
	AnnotationSpareOf = "akv2k8s.io/spare-of"
	// AnnotationRestart on a workload, written by users: the value "true" allows the controller to restart it when an
	// output that its pods use changes.
	AnnotationRestart = "akv2k8s.io/restart"
	// AnnotationRefresh on an AzureKeyVaultSecret, written by users: any new value makes the controller read the vault
	// now. The controller does not copy it to outputs.
	AnnotationRefresh = "akv2k8s.io/refresh"
	// AnnotationRestartedAt in a workload's pod template, written by the controller: the time of the restart, RFC 3339.
	AnnotationRestartedAt = "akv2k8s.io/restartedAt"
	// RestartFieldManager is the field manager of that annotation.
	RestartFieldManager = "akv2k8s-restart"
	// LabelInject on a pod, written by users and read by the webhook: the value "false" disables injection.
	LabelInject = "akv2k8s.io/inject"
	// AnnotationInject on a pod, written by users and read by the webhook: the value "always" wraps every container.
	AnnotationInject = "akv2k8s.io/inject"
	// AnnotationCommands on a pod, written by users and read by the webhook: a JSON object with the command (and its
	// arguments) of each image by container name.
	AnnotationCommands = "akv2k8s.io/commands"
	// AnnotationDelivery on a pod, written by users and read by the webhook: how the injector gets into the pod (auto,
	// image or init), or DeliveryEnvFile.
	AnnotationDelivery = "akv2k8s.io/delivery"
	// DeliveryEnvFile is the value of AnnotationDelivery with which the kubelet sets the values, from a file that the
	// init container writes. The containers keep their commands.
	DeliveryEnvFile = "envfile"
	// AnnotationInjectProbes on a pod, written by users and read by the webhook: whether exec probes and lifecycle
	// hooks of injected containers get values (true or false).
	AnnotationInjectProbes = "akv2k8s.io/inject-probes"
	// AnnotationFiles on a pod, written by users and read by the webhook: the files of its containers with their
	// references (see package webhook/podfiles). AnnotationContainerFiles with the name of a container is for that
	// container alone.
	AnnotationFiles          = "akv2k8s.io/files"
	AnnotationContainerFiles = AnnotationFiles + "."
	// AnnotationRefreshInterval on a pod, written by users and read by the webhook: the time between two reads of its
	// files, a Go duration of at least a minute; 0 for files that are written once.
	AnnotationRefreshInterval = "akv2k8s.io/refresh-interval"
	// AnnotationOnChange on a pod, written by users and read by the webhook: an HTTP URL with host localhost that the
	// files container calls (POST) after it has changed files.
	AnnotationOnChange = "akv2k8s.io/on-change"
	// AnnotationCASource on the webhook configuration, rendered by the chart and read by the env-injector: the source
	// of the CA bundle. With the value CAOwn the env-injector writes its own CA; otherwise the CA comes from
	// cert-manager, from values, or from an older version after a rollback.
	AnnotationCASource = "akv2k8s.io/ca"
	// CASourceEnvInjector is the value of AnnotationCASource for the env-injector's own CA.
	CASourceEnvInjector = "env-injector"
	// LabelManaged on an output, written by the controller and read by its metadata watch, which repairs manual edits
	// of objects with this label alone.
	LabelManaged = "akv2k8s.io/managed"
	// FieldManagerPrefix with a resource's uid is the field manager of its outputs, written and read by the controller.
	FieldManagerPrefix = "akv2k8s-"
	// V1FieldManager is the field manager of outputs that v1 wrote with Update.
	V1FieldManager = "azure-keyvault-controller"
)

// Names of what the webhook adds to a pod. They are the same as in v1, because policies and dashboards use them.
const (
	InitContainer  = "copy-azurekeyvault-env"
	VolumeInjector = "azure-keyvault-env"
	MountInjector  = "/azure-keyvault/"
	InjectorPath   = "/azure-keyvault/azure-keyvault-env"
	// DirectInjectorPath is the injector that reads vaults with the pod's own credentials, in an image volume. There,
	// the injector at InjectorPath can only use the auth service, and runs the other one where it is needed.
	DirectInjectorPath = "/azure-keyvault/azure-keyvault-env-direct"
	// HasStartedPath is the injector under another name. Under this name it exits with 0 if the container's program has
	// started; the startup probe of the webhook runs it.
	HasStartedPath = "/azure-keyvault/has-started"
	// ReplicaPath is a file with the HeaderReplica of the init container's check. The init container writes it, and the
	// injector reads it.
	ReplicaPath   = "/azure-keyvault/auth-service"
	VolumeToken   = "akv2k8s-token"
	MountToken    = "/var/run/secrets/akv2k8s.io/"
	TokenPath     = "/var/run/secrets/akv2k8s.io/token"
	TokenFile     = "token"
	TokenAudience = "akv2k8s"
	// VolumeEnvFiles has a file for each container of a pod with DeliveryEnvFile: its name and SuffixEnvFile. The init
	// container writes the files, and the kubelet reads them.
	VolumeEnvFiles = "akv2k8s-env-files"
	MountEnvFiles  = "/akv2k8s-env-files/"
	SuffixEnvFile  = ".env"
	// CheckContainer is an init container that ends with an error if the kubelet ignores env files.
	CheckContainer = "check-azurekeyvault-env"
	// CheckEnvFilePath is the env file of that container, with the variable EnvFileCheck.
	CheckEnvFilePath = "CHECK" + SuffixEnvFile
	// FilesContainer writes the files of a pod into VolumeFiles: a sidecar that keeps them fresh, or an init container.
	FilesContainer = "sync-azurekeyvault-files"
	// FilesInitContainer writes the files before such a sidecar starts, in a pod whose containers are never restarted.
	FilesInitContainer = "write-azurekeyvault-files"
	// VolumeFiles has a directory for each of PodFiles.Directories. It is mounted at MountFiles in the files container;
	// other containers mount its directories.
	VolumeFiles = "akv2k8s-files"
	MountFiles  = "/akv2k8s-files/"
	// VolumeAPIAccess has the token, CA and namespace of a container that calls the API server itself. It is mounted at
	// MountToken instead of VolumeToken.
	VolumeAPIAccess = "akv2k8s-api"
	CAPath          = "/var/run/secrets/akv2k8s.io/ca.crt"
	CAFile          = "ca.crt"
	NamespacePath   = "/var/run/secrets/akv2k8s.io/namespace"
	NamespaceFile   = "namespace"
	// CloudConfigPath is where users mount the node's azure.json into a container that authenticates as the node.
	CloudConfigPath = "/etc/kubernetes/azure.json"
)

// Environment variables of a container, written by the webhook and read by the injector. Users can write
// EnvDisableAuthService, EnvAuthType, EnvCheckBeforeStart, EnvTimeout, EnvRetries, EnvWaitBeforeRetry and the two log
// settings.
const (
	// EnvCA is the broker's root certificate, PEM.
	EnvCA = "ENV_INJECTOR_CA"
	// EnvBroker is host:port of the broker's Service by DNS name; the host is also the TLS name.
	EnvBroker = "ENV_INJECTOR_AUTH_SERVICE"
	// EnvBrokerAddress is host:port of the same Service by ClusterIP, which is dialed first; it can be absent.
	EnvBrokerAddress = "ENV_INJECTOR_AUTH_SERVICE_ADDRESS"
	// EnvAddedVariables is the comma-separated list of the variables that the webhook added, itself included. The
	// injector removes these alone before it starts the program.
	EnvAddedVariables = "ENV_INJECTOR_ADDED"
	// EnvReferences are the references outside of the container's env, as a JSON object by variable: those in
	// ConfigMaps, Secrets and fields of the pod when it was created. The broker reads them, too. A dollar is \u0024, so
	// that the kubelet does not expand it. In the init container of a pod with DeliveryEnvFile they are the references
	// of all containers, by container and variable ("app/PASSWORD").
	EnvReferences = "ENV_INJECTOR_REFERENCES"
	// EnvImageReferences are the references in the environment of the image, in the same form, as of the time when the
	// container was wrapped.
	EnvImageReferences = "ENV_INJECTOR_IMAGE_REFERENCES"
	// EnvAllowUnrecorded = "true" means that a ConfigMap or Secret was missing at that time. The broker then allows
	// every AzureKeyVaultSecret of the namespace.
	EnvAllowUnrecorded = "ENV_INJECTOR_ALLOW_UNRECORDED"
	// EnvExpand is an Expansion, as JSON.
	EnvExpand = "ENV_INJECTOR_EXPAND"
	// EnvDisableAuthService = "true" disables the auth service for a container. The webhook reads it.
	EnvDisableAuthService = "ENV_INJECTOR_DISABLE_AUTH_SERVICE"
	// EnvUseAuthService = "false" makes the injector read the vault itself, with credentials of the pod.
	EnvUseAuthService = "ENV_INJECTOR_USE_AUTH_SERVICE"
	// EnvAuthType is the authentication of such an injector: environment (the default), environment-azidentity or
	// azureCloudConfig.
	EnvAuthType = "ENV_INJECTOR_AUTH_TYPE"
	// EnvCloud is the installation's cloud as text of cloud.Setting. The container's own AZURE_ENVIRONMENT takes
	// precedence.
	EnvCloud = "ENV_INJECTOR_CLOUD"
	// EnvExtraCAs are the installation's extra certificate authorities, PEM; it can be absent.
	EnvExtraCAs = "ENV_INJECTOR_EXTRA_CA"
	// EnvCheckReferences holds the references that the init container checks: a JSON object by container and variable.
	// A dollar is \u0024.
	EnvCheckReferences = "ENV_INJECTOR_CHECK_REFERENCES"
	// EnvFileCheck is set to "true" by a kubelet that reads env files.
	EnvFileCheck = "ENV_INJECTOR_ENV_FILE_CHECK"
	// EnvFiles are the PodFiles of a files container, as JSON. A dollar is \u0024.
	EnvFiles = "ENV_INJECTOR_FILES"
	// EnvCheckBeforeStart = "false", written by users, excludes the references of a container from that check, because
	// another init container can create their values. The webhook reads it.
	EnvCheckBeforeStart = "ENV_INJECTOR_CHECK_BEFORE_START"
	// EnvTerminationLog is the container's terminationMessagePath, unless it is the default.
	EnvTerminationLog = "ENV_INJECTOR_TERMINATION_LOG"
	// EnvDefaultTimeout is the default of EnvTimeout. It depends on the container and on the kind of its pod.
	EnvDefaultTimeout = "ENV_INJECTOR_DEFAULT_TIMEOUT"
	// EnvTimeout is how long Unavailable, Throttled and a missing AzureKeyVaultSecret are retried, a Go duration.
	EnvTimeout = "ENV_INJECTOR_TIMEOUT"
	// EnvRetries and EnvWaitBeforeRetry limit the retries of all other errors: their number, and the seconds before the
	// first one.
	EnvRetries         = "ENV_INJECTOR_RETRIES"
	EnvWaitBeforeRetry = "ENV_INJECTOR_WAIT_BEFORE_RETRY"
	EnvLogLevel        = "ENV_INJECTOR_LOG_LEVEL"
	EnvLogFormat       = "ENV_INJECTOR_LOG_FORMAT"
)

// ReservedVariables returns the variables that only the webhook may write. The injector recognizes those of the webhook
// by EnvAddedVariables; others come from the image or a ConfigMap.
func ReservedVariables() []string {
	return []string{EnvCA, EnvBroker, EnvBrokerAddress, EnvAddedVariables, EnvUseAuthService, EnvCloud, EnvExtraCAs,
		EnvReferences, EnvImageReferences, EnvAllowUnrecorded, EnvExpand, EnvCheckReferences, EnvFileCheck,
		EnvFiles, EnvDefaultTimeout, EnvTerminationLog}
}
