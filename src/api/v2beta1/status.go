package v2beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AzureKeyVaultSecretStatus is the state that the controller last observed. The controller writes it only when it
// changes, not at each refresh. It reads it when it starts, to continue where it stopped, and never as an instruction.
type AzureKeyVaultSecretStatus struct {
	// SecretHash is a keyed hash (HMAC-SHA-256) of the Secret's data.
	// +optional
	SecretHash string `json:"secretHash,omitempty"`
	// SecretName is the Secret that is kept in sync.
	// +optional
	SecretName string `json:"secretName,omitempty"`
	// ConfigMapHash is a keyed hash (HMAC-SHA-256) of the ConfigMap's data.
	// +optional
	ConfigMapHash string `json:"configMapHash,omitempty"`
	// ConfigMapName is the ConfigMap that is kept in sync.
	// +optional
	ConfigMapName string `json:"configMapName,omitempty"`
	// ValueHash is a keyed hash (HMAC-SHA-256) of the objects of a resource without output. The part before the hyphen
	// stands for the key.
	// +optional
	ValueHash string `json:"valueHash,omitempty"`
	// LastAzureUpdate is when the output's data, or the value of a resource without output, last changed. The time of
	// the last sync is a metric.
	// +optional
	LastAzureUpdate *metav1.Time `json:"lastAzureUpdate,omitempty"`
	// VaultVersion is the version of the vault's object that the output holds, or that was read last.
	// +optional
	VaultVersion string `json:"vaultVersion,omitempty"`
	// Expires is the expiry date of that version, if it has one.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
	// ObservedGeneration is the generation of the spec that the conditions describe.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Refresh is the last value of the annotation akv2k8s.io/refresh for which the vault was read. A value of more than
	// 64 characters, or with characters other than letters, digits and -_.:+, is replaced by its SHA-256.
	// +kubebuilder:validation:MaxLength=71
	// +optional
	Refresh string `json:"refresh,omitempty"`
	// PendingRestart describes the change for which not all workloads have been restarted yet.
	// +optional
	PendingRestart *AzureKeyVaultPendingRestart `json:"pendingRestart,omitempty"`
	// Workloads that spec.rolloutRestart selects, as of the last change of the data; those with old data first.
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	// +optional
	Workloads []AzureKeyVaultWorkloadStatus `json:"workloads,omitempty"`
	// MoreWorkloads is the number of selected workloads that Workloads does not list.
	// +optional
	MoreWorkloads int32 `json:"moreWorkloads,omitempty"`
	// SyncedBy is the installation that keeps the output in sync, as NAMESPACE/NAME.
	// +kubebuilder:validation:MaxLength=127
	// +optional
	SyncedBy string `json:"syncedBy,omitempty"`
	// Conditions: Ready says whether the output is in sync, Stale whether the output can be out of date, ExpiringSoon
	// whether the object expires soon, and Contested whether another installation syncs the resource too.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// AzureKeyVaultPendingRestart describes a change of the data.
type AzureKeyVaultPendingRestart struct {
	// ChangedAt is the time of the change.
	ChangedAt metav1.Time `json:"changedAt"`
	// PreviousVersion is the version before the change, as in workloads.
	// +optional
	PreviousVersion string `json:"previousVersion,omitempty"`
}

// AzureKeyVaultWorkloadStatus says which data the pods of a workload have.
type AzureKeyVaultWorkloadStatus struct {
	// Kind of the workload.
	Kind string `json:"kind"`
	// Name of the workload.
	Name string `json:"name"`
	// Version with which its pods started: that of the vault's object, or the beginning of the hash of several objects;
	// empty if it is not known.
	// +optional
	Version string `json:"version,omitempty"`
	// Pending says why the workload has not been restarted, or that its pods are being replaced.
	// +optional
	Pending string `json:"pending,omitempty"`
}

// The types of conditions.
const (
	// ConditionReady says whether the output is in sync, or the objects of a resource without output can be read.
	ConditionReady = "Ready"
	// ConditionStale says whether the output exists but can be out of date, or the status of a resource without output.
	ConditionStale = "Stale"
	// ConditionExpiringSoon says whether the object expires soon. It is set only if the object has an expiry date.
	ConditionExpiringSoon = "ExpiringSoon"
	// ConditionContested says that two installations sync the resource. It is set only then.
	ConditionContested = "Contested"
)
