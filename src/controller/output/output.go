package output

import (
	"maps"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Kind is the kind of an output.
type Kind string

// The kinds of output.
const (
	Secret    Kind = "Secret"
	ConfigMap Kind = "ConfigMap"
)

// Kinds lists every kind of output.
func Kinds() []Kind { return []Kind{Secret, ConfigMap} }

// Owner is the AzureKeyVaultSecret that an output belongs to.
type Owner struct {
	Name, Namespace string
	UID             types.UID
	// Labels and Annotations of the resource; they are copied to the output, but for tracking ones.
	Labels, Annotations map[string]string
}

// Manager is the field manager under which the owner applies its outputs: each resource owns its own keys and no
// others.
func (o Owner) Manager() string { return wire.FieldManagerPrefix + string(o.UID) }

// reference is the owner reference of an output that is wholly ours.
func (o Owner) reference() *metav1ac.OwnerReferenceApplyConfiguration {
	return metav1ac.OwnerReference().WithAPIVersion(apiVersion).WithKind(wire.Kind).WithName(o.Name).WithUID(o.UID).
		WithController(false).WithBlockOwnerDeletion(true)
}

// apiVersion of owner references; the storage version, so that the garbage collector finds the owner under every
// version.
const apiVersion = wire.Group + "/" + wire.StorageVersion

// Desired is an output as its owner wants it. Keys, labels and annotations of others are none of its business.
type Desired struct {
	Kind  Kind
	Name  string
	Owner Owner
	// Type of a Secret, never empty; empty for a ConfigMap.
	Type                corev1.SecretType
	Immutable           bool
	Data                map[string][]byte
	Labels, Annotations map[string]string
	// Shared says that the object also holds data of others, so that it has no owner reference; see AsShared.
	Shared bool
}

// DesiredSecret is the Secret that a recipe makes for the owner.
func DesiredSecret(owner Owner, out recipe.SecretOutput, data map[string]keyvault.Value) Desired {
	d := desired(owner, Secret, out.Name, data)
	d.Type, d.Immutable = corev1.SecretType(out.Type), out.Immutable
	if out.Type == "" {
		d.Type = corev1.SecretTypeOpaque
	}
	maps.Copy(d.Labels, copied(out.Labels))
	maps.Copy(d.Annotations, copied(out.Annotations))
	d.Labels[wire.LabelManaged] = "true"
	return d
}

// DesiredConfigMap is the ConfigMap that a recipe makes for the owner.
func DesiredConfigMap(owner Owner, out recipe.ConfigMapOutput, data map[string]keyvault.Value) Desired {
	return desired(owner, ConfigMap, out.Name, data)
}

func desired(owner Owner, kind Kind, name string, data map[string]keyvault.Value) Desired {
	d := Desired{Kind: kind, Name: name, Owner: owner, Data: make(map[string][]byte, len(data)),
		Labels: copied(owner.Labels), Annotations: copied(owner.Annotations)}
	for key, value := range data {
		d.Data[key] = value.Reveal()
	}
	d.Labels[wire.LabelManaged] = "true"
	return d
}

// Without is the output without some of its data keys.
func (d Desired) Without(keys []string) Desired {
	d.Data = maps.Clone(d.Data)
	for _, key := range keys {
		delete(d.Data, key)
	}
	return d
}

// Spare is a copy of the output under another name, which keeps the data while the output is deleted and created again.
// It is deleted with the resource. It has none of the output's labels, so that nothing that selects by label takes it
// for the output.
func (d Desired) Spare() Desired {
	return Desired{Kind: d.Kind, Name: d.Owner.Manager(), Owner: d.Owner, Type: d.Type, Data: d.Data,
		Labels:      map[string]string{wire.LabelManaged: "true"},
		Annotations: map[string]string{wire.AnnotationSpare: d.Name}}
}

// IsSpare says whether the live object is a spare of that output, written by its owner.
func IsSpare(live Live, d Desired) bool {
	return live.Annotations[wire.AnnotationSpare] == d.Name && Applied(live, string(d.Owner.UID))
}

// Configuration is what is sent to the API server.
type Configuration struct {
	secret    *corev1ac.SecretApplyConfiguration
	configMap *corev1ac.ConfigMapApplyConfiguration
}

// Body is what a client applies.
func (c Configuration) Body() runtime.ApplyConfiguration {
	if c.secret != nil {
		return c.secret
	}
	return c.configMap
}

// Version is the resource version that the API server answered, empty if it did not.
func (c Configuration) Version() string {
	meta := c.meta()
	if meta == nil || meta.ResourceVersion == nil {
		return ""
	}
	return *meta.ResourceVersion
}

func (c Configuration) meta() *metav1ac.ObjectMetaApplyConfiguration {
	if c.secret != nil {
		return c.secret.ObjectMetaApplyConfiguration
	}
	return c.configMap.ObjectMetaApplyConfiguration
}

// noVersion is a resource version that no object has: the counter is past it before there is one.
const noVersion = "1"

// Absent makes the configuration one that the API server takes only if there is no such object; otherwise it answers
// Conflict.
func (c Configuration) Absent() Configuration {
	version := noVersion
	c.meta().ResourceVersion = &version
	return c
}

// Nothing takes away what a manager has of an object.
func Nothing(live Live) Configuration { return empty(live.Kind, live.Namespace, live.Name, live.UID) }

func empty(kind Kind, namespace, name string, uid types.UID) Configuration {
	var c Configuration
	if kind == Secret {
		c.secret = corev1ac.Secret(name, namespace)
	} else {
		c.configMap = corev1ac.ConfigMap(name, namespace)
	}
	if uid != "" {
		c.meta().UID = &uid
	}
	return c
}

// Configuration is what is applied for the output. With a uid it changes that very object and never makes another.
func (d Desired) Configuration(uid types.UID) Configuration {
	c := empty(d.Kind, d.Owner.Namespace, d.Name, uid)
	c.meta().Labels, c.meta().Annotations = d.Labels, d.Annotations
	if !d.Shared {
		c.meta().OwnerReferences = []metav1ac.OwnerReferenceApplyConfiguration{*d.Owner.reference()}
	}
	if d.Kind == Secret {
		c.secret.WithType(d.Type).WithData(d.Data)
		if d.Immutable {
			c.secret.WithImmutable(true)
		}
		return c
	}
	for key, value := range d.Data {
		if utf8.Valid(value) {
			c.configMap.WithData(map[string]string{key: string(value)})
		} else {
			c.configMap.WithBinaryData(map[string][]byte{key: value})
		}
	}
	return c
}

// copied leaves out what other tools track their own objects by: on the output it would make them adopt or prune it.
// What we read from outputs is left out too: on the resource it says nothing about the output.
func copied(from map[string]string) map[string]string {
	to := make(map[string]string, len(from)+1)
	for key, value := range from {
		if !tracking(key) && key != wire.AnnotationAdopt && key != wire.AnnotationSpare &&
			!strings.HasPrefix(key, wire.AnnotationKeysPrefix) {
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
	for _, prefix := range []string{"meta.helm.sh/", "argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/",
		"helm.toolkit.fluxcd.io/"} {
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

// OwnerUIDs are the uids of the AzureKeyVaultSecrets that an object says it belongs to.
func OwnerUIDs(references []metav1.OwnerReference) []string {
	var uids []string
	for _, ref := range references {
		if isOurs(ref) {
			uids = append(uids, string(ref.UID))
		}
	}
	return uids
}

// isOurs matches every version of our API, because references written by the predecessor may name an older one.
func isOurs(ref metav1.OwnerReference) bool {
	return ref.Kind == wire.Kind && strings.HasPrefix(ref.APIVersion, wire.Group+"/")
}
