package output

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// Kind is all that differs between the kinds of output. Each kind has a file with its Kind, and a line in Kinds. Kinds
// are comparable and can be map keys.
type Kind interface {
	// String returns the kind in Kubernetes, such as Secret.
	String() string
	// APIVersion returns the API version in Kubernetes, such as v1.
	APIVersion() string
	// NewObject returns an empty object, to read the output into.
	NewObject() Object
	// LiveFrom converts an object that NewObject returned.
	LiveFrom(object Object) Live
	// StatusFields returns the fields of a status that describe the output.
	StatusFields(status *v2beta1.AzureKeyVaultSecretStatus) StatusFields
	// NameInSpec returns the name of the output in a spec; empty if the spec has no output of the kind.
	NameInSpec(spec *v2beta1.AzureKeyVaultOutput) string
	// NamesUsedBy returns the names of the objects of the kind that pods use as variables or files.
	NamesUsedBy(pod corev1.PodSpec) []string
	// addFields sets the fields of the desired state that only this kind has.
	addFields(d *Desired, out recipe.Output)
	// newApplyConfig returns the configuration of the desired state, without metadata other than the name.
	newApplyConfig(d Desired) ApplyConfig
}

// Kinds is the registry of the kinds, in the order in which outputs are written.
func Kinds() []Kind { return []Kind{Secret, ConfigMap} }

// KindNamed returns the kind with the name in Kubernetes. The error for an unknown kind is fault.Bug, because parsing a
// resource rejects it.
func KindNamed(name string) (Kind, error) {
	all := Kinds()
	at := slices.IndexFunc(all, func(k Kind) bool { return k.String() == name })
	if at < 0 {
		return nil, fault.New(fault.Bug, "%q is not a kind of output; use one of %v", name, all)
	}
	return all[at], nil
}

// Object is an object of Kubernetes.
type Object interface {
	metav1.Object
	runtime.Object
}

// StatusFields are the fields of a status that describe one output.
type StatusFields struct{ Name, Hash *string }

// NameInStatus returns the name of the output of the kind in a status; empty if there is none.
func NameInStatus(kind Kind, status *v2beta1.AzureKeyVaultSecretStatus) string {
	return *kind.StatusFields(status).Name
}
