package output

import (
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Owner is the AzureKeyVaultSecret that an output belongs to.
type Owner struct {
	Name, Namespace string
	UID             types.UID
	// Labels and Annotations are those of the resource. They are copied to the output, except those that other tools
	// use for tracking.
	Labels, Annotations map[string]string
}

// FieldManager returns the field manager for the owner's outputs. Each resource owns only its own keys.
func (o Owner) FieldManager() string { return wire.FieldManagerPrefix + string(o.UID) }

// ownerReference returns the owner reference for an output that only holds data of AzureKeyVaultSecrets.
func (o Owner) ownerReference() *metav1ac.OwnerReferenceApplyConfiguration {
	return metav1ac.OwnerReference().WithAPIVersion(ownerAPIVersion).WithKind(wire.Kind).
		WithName(o.Name).WithUID(o.UID).
		WithController(false).WithBlockOwnerDeletion(true)
}

// ownerAPIVersion is the API version in owner references. It is the storage version, so the garbage collector finds the
// owner whichever version users work with.
const ownerAPIVersion = wire.Group + "/" + wire.StorageVersion

// Desired is the desired state of an output. It only covers the keys, labels and annotations of its owner.
type Desired struct {
	Kind  Kind
	Name  string
	Owner Owner
	// Type is the type of a Secret, never empty; it is empty for other kinds.
	Type                corev1.SecretType
	Immutable           bool
	Data                map[string][]byte
	Labels, Annotations map[string]string
	// Shared is true if the object also holds data of other owners or tools. Such an object gets no owner reference;
	// see shared.go.
	Shared bool
}

// NewDesired returns the output that a recipe describes.
func NewDesired(owner Owner, out recipe.Output, data map[string]keyvault.Value) (Desired, error) {
	kind, err := KindNamed(out.Kind)
	if err != nil {
		return Desired{}, err
	}
	d := Desired{Kind: kind, Name: out.Name, Owner: owner, Data: make(map[string][]byte, len(data)),
		Labels: withoutTrackingKeys(owner.Labels), Annotations: withoutTrackingKeys(owner.Annotations)}
	for key, value := range data {
		d.Data[key] = value.Reveal()
	}
	kind.addFields(&d, out)
	d.Labels[wire.LabelManaged] = "true"
	return d, nil
}

// WithoutKeys returns a copy of the output without the given data keys.
func (d Desired) WithoutKeys(keys []string) Desired {
	d.Data = maps.Clone(d.Data)
	for _, key := range keys {
		delete(d.Data, key)
	}
	return d
}

// Backup returns a copy of the output under another name, which keeps the data while the output is deleted and created
// again. The garbage collector deletes the copy with the resource. The copy has none of the output's labels, so label
// selectors for the output don't match it.
func (d Desired) Backup() Desired {
	return Desired{Kind: d.Kind, Name: d.Owner.FieldManager(), Owner: d.Owner, Type: d.Type, Data: d.Data,
		Labels:      map[string]string{wire.LabelManaged: "true"},
		Annotations: map[string]string{wire.AnnotationSpareOf: d.Name}}
}

// IsBackupOf reports whether the live object is the copy that its owner keeps of this output.
func IsBackupOf(live Live, d Desired) bool {
	return live.Annotations[wire.AnnotationSpareOf] == d.Name && HasFieldsOf(live, string(d.Owner.UID))
}

// ApplyConfig is an apply configuration for the API server.
type ApplyConfig struct {
	// Body is the configuration as a client applies it.
	Body runtime.ApplyConfiguration
	// objectMeta returns the metadata of Body. A client can replace it when it decodes the response.
	objectMeta func() *metav1ac.ObjectMetaApplyConfiguration
}

// ResourceVersion returns the resourceVersion in the response of the API server; empty if there was none.
func (c ApplyConfig) ResourceVersion() string {
	meta := c.objectMeta()
	if meta == nil || meta.ResourceVersion == nil {
		return ""
	}
	return *meta.ResourceVersion
}

// unusedResourceVersion is a resourceVersion that no object has: the revision counter is higher before the first object
// is created.
const unusedResourceVersion = "1"

// CreateOnly makes the configuration create-only: if the object exists, the API server returns Conflict.
func (c ApplyConfig) CreateOnly() ApplyConfig {
	version := unusedResourceVersion
	c.objectMeta().ResourceVersion = &version
	return c
}

// EmptyApplyConfig returns a configuration without fields. Applying it removes every field of the manager from the
// object.
func EmptyApplyConfig(live Live) ApplyConfig {
	return withUID(live.Kind.newApplyConfig(Desired{Name: live.Name, Owner: Owner{Namespace: live.Namespace}}),
		live.UID)
}

func withUID(c ApplyConfig, uid types.UID) ApplyConfig {
	if uid != "" {
		c.objectMeta().UID = &uid
	}
	return c
}

// ApplyConfig returns the configuration to apply. With a uid it only changes the object with that uid and never
// creates another one.
func (d Desired) ApplyConfig(uid types.UID) ApplyConfig {
	c := withUID(d.Kind.newApplyConfig(d), uid)
	c.objectMeta().Labels, c.objectMeta().Annotations = d.Labels, d.Annotations
	if !d.Shared {
		c.objectMeta().OwnerReferences = []metav1ac.OwnerReferenceApplyConfiguration{*d.Owner.ownerReference()}
	}
	return c
}

// withoutTrackingKeys returns a copy without the keys that other tools use to track their own objects: with them, those
// tools would adopt or delete the output. It also leaves out our own annotations: those of outputs have no
// meaning on the resource, and the one that requests a refresh none on outputs.
func withoutTrackingKeys(from map[string]string) map[string]string {
	to := make(map[string]string, len(from)+1)
	for key, value := range from {
		if !isTrackingKey(key) && !isOwnAnnotation(key) {
			to[key] = value
		}
	}
	return to
}

// isOwnAnnotation reports whether an annotation has a meaning for akv2k8s, on outputs or on the resource.
func isOwnAnnotation(key string) bool {
	switch key {
	case wire.AnnotationAdopt, wire.AnnotationRefresh, wire.AnnotationSpareOf:
		return true
	}
	return strings.HasPrefix(key, wire.AnnotationKeysPrefix)
}

func isTrackingKey(key string) bool {
	switch key {
	case "kubectl.kubernetes.io/last-applied-configuration", "app.kubernetes.io/managed-by":
		return true
	}
	for _, prefix := range []string{"meta.helm.sh/", "argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/",
		"helm.toolkit.fluxcd.io/"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// OwnerNames returns the names of the AzureKeyVaultSecrets in owner references.
func OwnerNames(references []metav1.OwnerReference) []string {
	var names []string
	for _, ref := range references {
		if isOurOwnerReference(ref) {
			names = append(names, ref.Name)
		}
	}
	return names
}

// OwnerUIDs returns the uids of the AzureKeyVaultSecrets in owner references.
func OwnerUIDs(references []metav1.OwnerReference) []string {
	var uids []string
	for _, ref := range references {
		if isOurOwnerReference(ref) {
			uids = append(uids, string(ref.UID))
		}
	}
	return uids
}

// isOurOwnerReference matches every version of our API, because references written by akv2k8s 1.8 can contain an older
// one.
func isOurOwnerReference(ref metav1.OwnerReference) bool {
	return ref.Kind == wire.Kind && strings.HasPrefix(ref.APIVersion, wire.Group+"/")
}
