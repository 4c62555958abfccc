package output

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Owner is the AzureKeyVaultSecret that an output belongs to.
type Owner struct {
	Name, Namespace string
	UID             types.UID
	// Labels and Annotations of the resource; they are copied to the output, but for tracking ones.
	Labels, Annotations map[string]string
}

// Manager is the field manager under which the owner applies its outputs: each resource owns its own keys and no others.
func (o Owner) Manager() string { return wire.FieldManagerPrefix + string(o.UID) }

// apiVersion of owner references; the storage version, so that the garbage collector finds the owner under every version.
const apiVersion = wire.Group + "/" + wire.StorageVersion

// DesiredSecret is the Secret that the recipe makes for the owner, ready to be applied.
func DesiredSecret(owner Owner, out recipe.SecretOutput, data map[string]keyvault.Value) *corev1ac.SecretApplyConfiguration {
	content := make(map[string][]byte, len(data))
	for key, value := range data {
		content[key] = value.Reveal()
	}
	labels := copied(owner.Labels)
	labels[wire.LabelManaged] = "true"
	return corev1ac.Secret(out.Name, owner.Namespace).
		WithLabels(labels).
		WithAnnotations(copied(owner.Annotations)).
		WithType(secretType(out)).
		WithData(content).
		WithOwnerReferences(metav1ac.OwnerReference().
			WithAPIVersion(apiVersion).WithKind(wire.Kind).WithName(owner.Name).WithUID(owner.UID).
			WithController(false).WithBlockOwnerDeletion(true))
}

func secretType(out recipe.SecretOutput) corev1.SecretType {
	if out.Type == "" {
		return corev1.SecretTypeOpaque
	}
	return corev1.SecretType(out.Type)
}

// copied leaves out what other tools track their own objects by: on the output it would make them adopt or prune it.
func copied(from map[string]string) map[string]string {
	to := make(map[string]string, len(from)+1)
	for key, value := range from {
		if !tracking(key) {
			to[key] = value
		}
	}
	return to
}

func tracking(key string) bool {
	switch key {
	case "kubectl.kubernetes.io/last-applied-configuration", "app.kubernetes.io/managed-by":
		return true
	}
	for _, prefix := range []string{"meta.helm.sh/", "argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// OwnerNames are the names of the AzureKeyVaultSecrets that an object says it belongs to.
func OwnerNames(references []metav1.OwnerReference) []string {
	var names []string
	for _, ref := range references {
		if isOurs(ref) {
			names = append(names, ref.Name)
		}
	}
	return names
}

// isOurs matches every version of our API, because references written by the predecessor may name an older one.
func isOurs(ref metav1.OwnerReference) bool {
	return ref.Kind == wire.Kind && strings.HasPrefix(ref.APIVersion, wire.Group+"/")
}
