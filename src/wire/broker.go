package wire

// ResolvePath is the path of the broker for a ResolveRequest, by POST over TLS, with the pod's token as bearer token.
const ResolvePath = "/v1/resolve"

// HeaderReplica is a header of an answer: host:port of the replica that sent it. The replica caches what it has
// checked, so the injector calls it again.
const HeaderReplica = "Akv2k8s-Replica"

// ResolveRequest is the request of the injector: all references of its container, or of all containers for a check.
type ResolveRequest struct {
	// References by variable name, as written in the pod ("name@azurekeyvault?query"). A check of several containers
	// can prefix the name with the container ("app/PASSWORD"), because names then occur only in messages.
	References map[string]string `json:"references"`
	// CheckOnly requests only whether every reference can be resolved. Authentication, authorization and errors are
	// those of other requests; the answer has no values. A broker without support for this field answers with values,
	// which the client discards.
	CheckOnly bool `json:"check,omitempty"`
}

// ResolveResponse has the value of each requested variable. It is all or nothing.
type ResolveResponse struct {
	// Values by variable name, as bytes, because a value can be other than UTF-8. Absent in the answer to a check.
	Values map[string][]byte `json:"values,omitempty"`
}

// ErrorResponse is the body of every answer with a status other than 200.
type ErrorResponse struct {
	// Kind is a fault.Kind.
	Kind string `json:"kind"`
	// Message is one sentence for the user, with the next step. It never contains a value or a token.
	Message string `json:"message"`
	// RetryAfterSeconds is set if the vault or the broker requested a wait.
	RetryAfterSeconds int `json:"retryAfterSeconds,omitempty"`
	// CanAppearLater is set if the AzureKeyVaultSecret does not exist, because it can be created after the pod. It is
	// not set for an object that does not exist in the vault.
	CanAppearLater bool `json:"mayComeLater,omitempty"`
}

// Expansion lists the texts that the injector expands instead of the kubelet, because they use $(NAME) of a variable
// whose value comes from a vault. The webhook has doubled the dollars of these texts.
type Expansion struct {
	// ArgIndexes are indexes into the container's args, which are the program and its arguments.
	ArgIndexes []int `json:"args,omitempty"`
	// Variables are names of variables, in the order in which they are expanded.
	Variables []string `json:"env,omitempty"`
}
