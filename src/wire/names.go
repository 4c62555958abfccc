package wire

// Group, kind and storage version of the product's custom resource. Written by users, read by everything.
const (
	Group          = "spv.no"
	Kind           = "AzureKeyVaultSecret"
	StorageVersion = "v2beta1"
)

// Annotations and labels.
const (
	// AnnotationAdopt on an existing Secret or ConfigMap, written by users: with the value "true" the controller may
	// add keys to it; a list of data keys, separated by commas, lets it overwrite these keys too.
	AnnotationAdopt = "akv2k8s.io/adopt"
	// AnnotationKeysPrefix and a resource's uid make the annotation of an output that also holds data of others,
	// written and read by the controller: the resource's name and its data keys.
	AnnotationKeysPrefix = "keys.akv2k8s.io/"
	// AnnotationSpare on a Secret or ConfigMap, written and read by the controller: it holds the data of the output of
	// that name, which is being deleted and created again.
	AnnotationSpare = "akv2k8s.io/spare-of"
	// AnnotationRestart on a workload, written by users with the value "true": the controller may restart it when what
	// its pods use changes.
	AnnotationRestart = "akv2k8s.io/restart"
	// AnnotationRestarted in a workload's pod template, written by the controller: when it restarted it, RFC 3339.
	AnnotationRestarted = "akv2k8s.io/restartedAt"
	// RestartManager is the field manager of that annotation.
	RestartManager = "akv2k8s-restart"
	// LabelInject on a pod, written by users with the value "false": the webhook leaves the pod alone.
	LabelInject = "akv2k8s.io/inject"
	// AnnotationInject on a pod, written by users with the value "always": the webhook wraps every container.
	AnnotationInject = "akv2k8s.io/inject"
	// AnnotationCommands on a pod, written by users: a JSON object of container name and the command (with arguments)
	// that its image runs.
	AnnotationCommands = "akv2k8s.io/commands"
	// AnnotationCA on the webhook configuration, rendered by the chart and read by the env-injector: whose CA is in it.
	// With the value CAOwn the env-injector writes its own; otherwise it comes from cert-manager, from values, or from
	// an older version that was rolled back to.
	AnnotationCA = "akv2k8s.io/ca"
	CAOwn        = "env-injector"
	// LabelManaged on an output, written by the controller, read by its metadata watch: the repair of hand-made edits
	// watches only what carries it.
	LabelManaged = "akv2k8s.io/managed"
	// FieldManagerPrefix and a resource's uid make the field manager of its outputs, written and read by the
	// controller.
	FieldManagerPrefix = "akv2k8s-"
	// LegacyManager is the field manager of outputs that the predecessor wrote, by Update.
	LegacyManager = "azure-keyvault-controller"
)

// What the webhook adds to a pod. The names are the predecessor's, because policies and dashboards know them.
const (
	InitContainer = "copy-azurekeyvault-env"
	VolumeBinary  = "azure-keyvault-env"
	MountBinary   = "/azure-keyvault/"
	InjectorPath  = "/azure-keyvault/azure-keyvault-env"
	// StartedPath is the injector under another name, as which it says whether the container's program has started: the
	// webhook's startup probe runs it.
	StartedPath = "/azure-keyvault/has-started"
	// ReplicaPath holds the HeaderReplica of the init container's check. The injector reads it.
	ReplicaPath   = "/azure-keyvault/auth-service"
	VolumeToken   = "akv2k8s-token"
	MountToken    = "/var/run/secrets/akv2k8s.io/"
	TokenPath     = "/var/run/secrets/akv2k8s.io/token"
	TokenFile     = "token"
	TokenAudience = "akv2k8s"
	// VolumeAPI has what a container needs that asks the API server itself; it is mounted at MountToken instead of
	// VolumeToken.
	VolumeAPI     = "akv2k8s-api"
	CAPath        = "/var/run/secrets/akv2k8s.io/ca.crt"
	CAFile        = "ca.crt"
	NamespacePath = "/var/run/secrets/akv2k8s.io/namespace"
	NamespaceFile = "namespace"
)

// Environment of a container, written by the webhook, read by the injector. EnvDisable, EnvAuthType, EnvTimeout,
// EnvRetries, EnvWait and the two log settings may also be written by users.
const (
	// EnvCA is the broker's root certificate, PEM.
	EnvCA = "ENV_INJECTOR_CA"
	// EnvBroker is host:port of the broker's Service by DNS name; the host is also the TLS name.
	EnvBroker = "ENV_INJECTOR_AUTH_SERVICE"
	// EnvBrokerAddress is host:port of the same Service by ClusterIP, dialled first; may be absent.
	EnvBrokerAddress = "ENV_INJECTOR_AUTH_SERVICE_ADDRESS"
	// EnvAdded lists the variables that the webhook added, comma separated, itself included; the injector removes these
	// and no others before it starts the program.
	EnvAdded = "ENV_INJECTOR_ADDED"
	// EnvReferences are references that stand elsewhere than in the container's own env, as a JSON object by variable:
	// what was found in ConfigMaps, Secrets and fields of the pod when it was created. The broker reads them; dollars
	// are \u0024, so nobody expands them.
	EnvReferences = "ENV_INJECTOR_REFERENCES"
	// EnvImageReferences are references in the image's own environment, in the same form. They are of the image that
	// was looked into when the container was wrapped.
	EnvImageReferences = "ENV_INJECTOR_IMAGE_REFERENCES"
	// EnvOpen = "true" says that a source was missing then; the broker allows any AzureKeyVaultSecret of the namespace.
	EnvOpen = "ENV_INJECTOR_OPEN"
	// EnvExpand is an Expansion, as JSON.
	EnvExpand = "ENV_INJECTOR_EXPAND"
	// EnvDisable = "true" switches the auth service off for a container; the webhook reads it.
	EnvDisable = "ENV_INJECTOR_DISABLE_AUTH_SERVICE"
	// EnvUseAuthService = "false" makes the injector read for itself, with credentials of the pod.
	EnvUseAuthService = "ENV_INJECTOR_USE_AUTH_SERVICE"
	// EnvAuthType is how it authenticates then: environment (the default), environment-azidentity or azureCloudConfig.
	// May be written by users.
	EnvAuthType = "ENV_INJECTOR_AUTH_TYPE"
	// EnvCloud is the installation's cloud as text of cloud.Setting; the container's own AZURE_ENVIRONMENT comes before
	// it.
	EnvCloud = "ENV_INJECTOR_CLOUD"
	// EnvExtraCAs are the installation's extra certificate authorities, PEM; may be absent.
	EnvExtraCAs = "ENV_INJECTOR_EXTRA_CA"
	// EnvCheck holds the references that the init container checks: a JSON object by container and variable; dollars
	// are \u0024.
	EnvCheck = "ENV_INJECTOR_CHECK_REFERENCES"
	// EnvCheckFirst = "false", written by users, keeps the references of a container out of that check: they may come
	// into existence by what another init container does. The webhook reads it.
	EnvCheckFirst = "ENV_INJECTOR_CHECK_BEFORE_START"
	// EnvTerminationLog is the container's terminationMessagePath, if that is not the default.
	EnvTerminationLog = "ENV_INJECTOR_TERMINATION_LOG"
	// EnvDefaultTimeout is EnvTimeout where the user has not set it: it depends on what waits in a pod of which kind.
	EnvDefaultTimeout = "ENV_INJECTOR_DEFAULT_TIMEOUT"
	// EnvTimeout is how long Unavailable, Throttled and an absent AzureKeyVaultSecret are retried, a Go duration.
	EnvTimeout = "ENV_INJECTOR_TIMEOUT"
	// EnvRetries and EnvWait bound the retries of everything else: a number, and seconds before the first one.
	EnvRetries   = "ENV_INJECTOR_RETRIES"
	EnvWait      = "ENV_INJECTOR_WAIT_BEFORE_RETRY"
	EnvLogLevel  = "ENV_INJECTOR_LOG_LEVEL"
	EnvLogFormat = "ENV_INJECTOR_LOG_FORMAT"
)

// Reserved are the variables that only the webhook may write. A container that has one from its image or from a
// ConfigMap does not have it from the webhook, which lists what it wrote in EnvAdded.
func Reserved() []string {
	return []string{EnvCA, EnvBroker, EnvBrokerAddress, EnvAdded, EnvUseAuthService, EnvCloud, EnvExtraCAs,
		EnvReferences, EnvImageReferences, EnvOpen, EnvExpand, EnvCheck, EnvDefaultTimeout, EnvTerminationLog}
}
