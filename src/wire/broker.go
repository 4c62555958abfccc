package wire

// ResolvePath is where the broker answers, by POST over TLS, with the pod's token as bearer.
const ResolvePath = "/v1/resolve"

// HeaderReplica of an answer is host:port of the replica that gave it, as it was reached. What it has checked is in its
// memory for a while.
const HeaderReplica = "Akv2k8s-Replica"

// ResolveRequest is the injector's one question: every reference of its container, or of all containers for a check.
type ResolveRequest struct {
	// References by variable name, as written in the pod ("name@azurekeyvault?query"). In a check that covers several
	// containers, the name may have the container in front ("app/PASSWORD"): names only occur in messages then.
	References map[string]string `json:"references"`
	// Check asks whether every reference can be resolved. Authentication, authorisation and errors are those of any
	// other request; the answer has no values. A broker older than this field answers with values, which the client has
	// to throw away.
	Check bool `json:"check,omitempty"`
}

// ResolveResponse answers with the value of each variable that was asked for, all or nothing.
type ResolveResponse struct {
	// Values by variable name; bytes, because a value need not be UTF-8. Absent in the answer to a check.
	Values map[string][]byte `json:"values,omitempty"`
}

// ErrorResponse is the body of every answer that is not 200.
type ErrorResponse struct {
	// Kind is a fault.Kind.
	Kind string `json:"kind"`
	// Message is one sentence for the user, with the next step; it never holds a value or a token.
	Message string `json:"message"`
	// RetryAfterSeconds is set if the vault or the broker asked to wait.
	RetryAfterSeconds int `json:"retryAfterSeconds,omitempty"`
	// MayComeLater is set if the AzureKeyVaultSecret does not exist: it may be created a moment after the pod. An
	// object that the vault does not have is NotFound without it.
	MayComeLater bool `json:"mayComeLater,omitempty"`
}

// Expansion is what the injector expands instead of the kubelet, because it uses $(NAME) of a variable whose value
// comes from a vault. The webhook has doubled the dollars of these texts.
type Expansion struct {
	// Args are places in the container's args, which are the program and its arguments.
	Args []int `json:"args,omitempty"`
	// Env are names of variables, in the order in which they are expanded.
	Env []string `json:"env,omitempty"`
}
