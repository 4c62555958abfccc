package wire

// ResolvePath is where the broker answers, by POST over TLS, with the pod's token as bearer.
const ResolvePath = "/v1/resolve"

// MaxRequestBytes bounds a ResolveRequest; MaxResponseBytes bounds its answer.
const (
	MaxRequestBytes  = 1 << 20
	MaxResponseBytes = 16 << 20
)

// ResolveRequest is the injector's one question: every reference of its container.
type ResolveRequest struct {
	// References by variable name, as written in the pod ("name@azurekeyvault?query").
	References map[string]string `json:"references"`
}

// ResolveResponse answers with the value of each variable that was asked for, all or nothing.
type ResolveResponse struct {
	// Values by variable name; bytes, because a value need not be UTF-8.
	Values map[string][]byte `json:"values"`
}

// ErrorResponse is the body of every answer that is not 200.
type ErrorResponse struct {
	// Kind is a fault.Kind.
	Kind string `json:"kind"`
	// Message is one sentence for the user, with the next step; it never holds a value or a token.
	Message string `json:"message"`
	// RetryAfterSeconds is set if the vault or the broker asked to wait.
	RetryAfterSeconds int `json:"retryAfterSeconds,omitempty"`
}

// Expansion is what the injector expands instead of the kubelet, because it uses $(NAME) of a variable whose value comes from a vault.
// The webhook has doubled the dollars of these texts.
type Expansion struct {
	// Args are places in the container's args, which are the program and its arguments.
	Args []int `json:"args,omitempty"`
	// Env are names of variables, in the order in which they are expanded.
	Env []string `json:"env,omitempty"`
}
