package explain

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/doctor"
)

// Pod is the explanation of a pod, or of the pods of a workload.
type Pod struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// ServiceAccount of the pod.
	ServiceAccount string `json:"serviceAccount"`
	// Exists is false for a manifest.
	Exists bool `json:"exists"`
	// Injected reports whether any container gets values.
	Injected bool `json:"injected"`
	// Injection says how the pod is injected, or why it is not.
	Injection  string      `json:"injection"`
	Containers []Container `json:"containers"`
	// Notes say what was not read.
	Notes []string `json:"notes,omitempty"`
	// Findings are the errors and warnings.
	Findings []doctor.Finding `json:"findings"`
}

// Container is a container of a pod, without those that the webhook adds.
type Container struct {
	Name     string `json:"name"`
	Injected bool   `json:"injected"`
	// Reader says who reads the values, and with which identity; empty if the container is not injected.
	Reader string `json:"reader,omitempty"`
	// ValuesFrom is when the container got its values; nil if it does not run.
	ValuesFrom *metav1.Time `json:"valuesFrom,omitempty"`
	Uses       []Use        `json:"uses,omitempty"`

	// isDirect says that the vault is read with the pod's own credentials.
	isDirect bool
}

// Use is a variable, or a file, whose value comes from a vault.
type Use struct {
	// Variable is the name of the variable.
	Variable string `json:"variable,omitempty"`
	// File is the path of the file. Only one of Variable and File is set.
	File string `json:"file,omitempty"`
	// From is where the reference stands, such as env or ConfigMap "shop".
	From string `json:"from"`
	// Reference is NAME@azurekeyvault, or with ?QUERY.
	Reference string `json:"reference"`
	// Resource is the name of the AzureKeyVaultSecret.
	Resource string `json:"resource"`
	// VaultObject is TYPE VAULT/NAME; empty if it is not known.
	VaultObject string `json:"vaultObject,omitempty"`
	// Part is the part of the object that the variable gets; empty for its value.
	Part string `json:"part,omitempty"`
	// Identity reads the vault.
	Identity string `json:"identity,omitempty"`
	// Version, Changed and Expires are those of the last read by the controller.
	Version string       `json:"version,omitempty"`
	Changed *metav1.Time `json:"changed,omitempty"`
	Expires *metav1.Time `json:"expires,omitempty"`
	// Ready is True, False or Unknown, with the reason.
	Ready string `json:"ready"`
	// AtStart says what happens when the container starts.
	AtStart string `json:"atStart"`
	// hasAllKeys says that a file has all data keys of the resource, so the reference selects none.
	hasAllKeys bool
	// Now says how old the value in the running container is; empty if it does not run.
	Now string `json:"now,omitempty"`
}

// Resource is the explanation of an AzureKeyVaultSecret.
type Resource struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Vault     string   `json:"vault"`
	Identity  string   `json:"identity"`
	Objects   []Object `json:"objects"`
	// Searches is the number of searches in the vault for further objects.
	Searches int          `json:"searches,omitempty"`
	Version  string       `json:"version,omitempty"`
	Changed  *metav1.Time `json:"changed,omitempty"`
	Expires  *metav1.Time `json:"expires,omitempty"`
	// Conditions are those of the status.
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// LastError is the message of the condition Ready, if it is not True.
	LastError string `json:"lastError,omitempty"`
	// Refresh says when the vault is read, and NextRefresh when next, if that is known.
	Refresh     string       `json:"refresh"`
	NextRefresh *metav1.Time `json:"nextRefresh,omitempty"`
	// SyncedBy is the installation that keeps the outputs in sync.
	SyncedBy string           `json:"syncedBy,omitempty"`
	Outputs  []Output         `json:"outputs,omitempty"`
	Restarts *Restarts        `json:"restarts,omitempty"`
	Findings []doctor.Finding `json:"findings"`
}

// Object is a vault object of a resource.
type Object struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Version is set if the resource names one.
	Version string `json:"version,omitempty"`
	DataKey string `json:"dataKey,omitempty"`
}

// Output is a Secret or ConfigMap of a resource.
type Output struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// State says whether the object exists, and whether it also holds data of others.
	State string `json:"state"`
	Keys  []Key  `json:"keys,omitempty"`
}

// Key is a data key of an output, with those that wrote it.
type Key struct {
	Name    string   `json:"name"`
	Writers []string `json:"writers"`
}

// Restarts says which workloads are restarted when the data changes.
type Restarts struct {
	// Selects describes spec.rolloutRestart.
	Selects string `json:"selects"`
	// Pending is the time of a change for which not all workloads have been restarted.
	Pending   *metav1.Time `json:"pending,omitempty"`
	Workloads []Workload   `json:"workloads,omitempty"`
	// More is the number of further workloads.
	More int32 `json:"more,omitempty"`
}

// Workload is a workload that a resource restarts.
type Workload struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Version with which its pods started; empty if it is not known.
	Version string `json:"version,omitempty"`
	// State says what the workload waits for, or that nothing is pending.
	State string `json:"state"`
}
