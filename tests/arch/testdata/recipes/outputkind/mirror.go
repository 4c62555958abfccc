package output

import (
	"encoding/base64"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// Mirror is a kind that exists only in a test of docs/contributing/recipes.md: an object of another API group.
const Mirror = mirrorKind("Mirror")

type mirrorKind string

// String implements Kind.
func (k mirrorKind) String() string { return string(k) }

// APIVersion implements Kind.
func (mirrorKind) APIVersion() string { return "example.org/v1" }

// NewObject implements Kind.
func (k mirrorKind) NewObject() Object {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(k.APIVersion())
	object.SetKind(k.String())
	return object
}

// LiveFrom implements Kind.
func (mirrorKind) LiveFrom(object Object) Live {
	live := Live{Kind: Mirror, Data: map[string][]byte{}, ObjectMeta: metav1.ObjectMeta{
		Name: object.GetName(), Namespace: object.GetNamespace(), UID: object.GetUID(),
		ResourceVersion: object.GetResourceVersion(), Labels: object.GetLabels(), Annotations: object.GetAnnotations(),
		OwnerReferences: object.GetOwnerReferences(), ManagedFields: object.GetManagedFields()}}
	data, _, _ := unstructured.NestedStringMap(object.(*unstructured.Unstructured).Object, "data")
	for key, text := range data {
		live.Data[key], _ = base64.StdEncoding.DecodeString(text)
	}
	return live
}

// mirrorStatus stands for two fields of the status in the API.
var mirrorStatus struct{ name, hash string }

// StatusFields implements Kind.
func (mirrorKind) StatusFields(*v2beta1.AzureKeyVaultSecretStatus) StatusFields {
	return StatusFields{Name: &mirrorStatus.name, Hash: &mirrorStatus.hash}
}

// NameInSpec implements Kind.
func (mirrorKind) NameInSpec(*v2beta1.AzureKeyVaultOutput) string { return "" }

// NamesUsedBy implements Kind.
func (mirrorKind) NamesUsedBy(corev1.PodSpec) []string { return nil }

func (mirrorKind) addFields(*Desired, recipe.Output) {}

// mirrorConfig is the apply configuration of a Mirror.
type mirrorConfig struct {
	metav1ac.TypeMetaApplyConfiguration    `json:",inline"`
	*metav1ac.ObjectMetaApplyConfiguration `json:"metadata,omitempty"`

	Data map[string][]byte `json:"data,omitempty"`
}

// IsApplyConfiguration implements runtime.ApplyConfiguration.
func (mirrorConfig) IsApplyConfiguration() {}

func (k mirrorKind) newApplyConfig(d Desired) ApplyConfig {
	config := &mirrorConfig{ObjectMetaApplyConfiguration: &metav1ac.ObjectMetaApplyConfiguration{}, Data: d.Data}
	config.WithKind(k.String()).WithAPIVersion(k.APIVersion())
	config.WithName(d.Name).WithNamespace(d.Owner.Namespace)
	return ApplyConfig{Body: config,
		objectMeta: func() *metav1ac.ObjectMetaApplyConfiguration { return config.ObjectMetaApplyConfiguration }}
}
