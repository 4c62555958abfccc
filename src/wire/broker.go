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

// FilesPath is the path of the broker for the files of a pod, by GET over TLS, with the pod's token as bearer token.
// The broker reads from the pod's spec which files they are (EnvFiles of its FilesContainer). A 200 has a FilesResponse
// and the header ETag, a keyed hash of the content. If the request has this text as If-None-Match and nothing has
// changed, the answer is 304 without a body.
const FilesPath = "/v1/files"

// HeaderRefreshAfter is a header of both answers: the time in seconds until the pod should request its files again, 0
// for never. The broker takes it from PodFiles or from the AzureKeyVaultSecrets.
const HeaderRefreshAfter = "Akv2k8s-Refresh-After"

// FilesResponse has the content of all directories of a pod. It is all or nothing.
type FilesResponse struct {
	// Directories by name (see PodFiles), each with its files by slash-separated relative path.
	Directories map[string]map[string]FileContent `json:"directories"`
}

// FileContent is one file.
type FileContent struct {
	Content []byte `json:"content"`
	// Mode has the permission bits.
	Mode uint32 `json:"mode"`
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

// PodFiles are the files of a pod, as JSON in EnvFiles. The webhook writes it, and the broker and the files container
// read it.
type PodFiles struct {
	// RefreshSeconds is the time between two requests: 0 for never; absent if the AzureKeyVaultSecrets decide.
	RefreshSeconds *int64 `json:"refreshSeconds,omitempty"`
	// OnChange is the URL on the pod's loopback interface that is called after a change; empty for none.
	OnChange string `json:"onChange,omitempty"`
	// Directories by name. Each is a directory of that name in VolumeFiles.
	Directories map[string][]FileEntry `json:"directories"`
}

// FileEntry is a file, or a folder with a file for each data key.
type FileEntry struct {
	// Path relative to the directory, such as "tls.crt"; "." for a folder that is the directory itself.
	Path string `json:"path"`
	// IsFolder says that the entry is a folder.
	IsFolder bool `json:"folder,omitempty"`
	// Reference to the value, such as "db@azurekeyvault?password"; that of a folder has no query.
	Reference string `json:"from"`
	// Mode has the permission bits of the file, or of each file of the folder.
	Mode uint32 `json:"mode"`
	// Format is a fileformat.Format; empty for raw.
	Format string `json:"format,omitempty"`
	// PasswordReference is the reference to the password of the file; empty if the format has none.
	PasswordReference string `json:"password,omitempty"`
}
