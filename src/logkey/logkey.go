package logkey

// Objects.
const (
	Namespace  = "namespace"
	Name       = "name"
	Kind       = "kind"
	Pod        = "pod"
	Containers = "containers"
	Secret     = "secret"
	Secrets    = "secrets"
	// Image is an image as the pod names it.
	Image = "image"
	// Credentials describes where the credentials of a registry come from. It never holds them.
	Credentials = "credentials"
	// Delivery is how the injector gets into a pod, DeliveryReason why, and DeliveryVersion the version that decided.
	Delivery        = "delivery"
	DeliveryReason  = "deliveryReason"
	DeliveryVersion = "deliveryVersion"
	Node            = "node"
	// List is the list of a vault.
	List = "list"
	// Directories are those of wire.PodFiles, by name.
	Directories = "directories"
)

// Requests and their results.
const (
	// ID is shown to the user who was rejected, so that an administrator finds the line.
	ID         = "id"
	RemoteAddr = "remoteAddr"
	Port       = "port"
	DryRun     = "dryRun"
	Limit      = "limit"
	// Reason is the reason of a fault.Kind.
	Reason = "reason"
	Error  = "error"
	Result = "result"
	// RetryIn is a duration, RetryAt a time in RFC 3339.
	RetryIn = "retryIn"
	RetryAt = "retryAt"
	// RefreshIn is the time until the next refresh, a duration.
	RefreshIn = "refreshIn"
	// DroppedLines counts the lines that a rate limit dropped since the last one.
	DroppedLines = "droppedLines"
)

// Variables and values of a pod, in counts and names.
const (
	ContainerCount      = "containerCount"
	FilesContainerCount = "filesContainers"
	Variables           = "variables"
	UnrecordedVariables = "unrecordedVariables"
	FirstUnrecorded     = "firstUnrecorded"
	StaleObjects        = "staleObjects"
	FirstStale          = "firstStale"
)

// Settings of the process.
const (
	Authentication = "authentication"
	EveryNamespace = "everyNamespace"
	AuthService    = "authService"
	FIPS140        = "fips140"
)

// State of pods of akv2k8s 1.8.
const (
	CreatedBefore = "createdBefore"
	CAFound       = "caFound"
)
