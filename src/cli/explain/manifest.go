package explain

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Manifests are objects of files.
type Manifests struct {
	pods      []manifestPod
	resources map[types.NamespacedName]*v2beta1.AzureKeyVaultSecret
	sources   map[manifestKey]inject.Source
}

// manifestKey identifies a ConfigMap or Secret.
type manifestKey struct {
	kind string
	types.NamespacedName
}

// manifestPod is a pod, or the template of a workload's pods.
type manifestPod struct {
	kind, name string
	pod        *corev1.Pod
}

// Add adds the objects of a stream of YAML or JSON: pods and workloads, which are explained, and AzureKeyVaultSecrets,
// ConfigMaps and Secrets, which are read in place of those in the cluster. Other objects are ignored. Objects without a
// namespace are in the given one. Errors quote no content.
func (m *Manifests) Add(name string, content []byte, namespace string) error {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4<<10)
	for number := 1; ; number++ {
		if number > limits.ConvertDocuments {
			return fmt.Errorf("%s has more than %s documents", name, limits.Count(limits.ConvertDocuments))
		}
		var document json.RawMessage
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nil
		}
		var object map[string]any
		if err != nil || len(document) > 0 && utiljson.Unmarshal(document, &object) != nil {
			return fmt.Errorf("%s: document %d is neither YAML nor JSON of an object", name, number)
		}
		if err := m.addObject(&unstructured.Unstructured{Object: object}, namespace); err != nil {
			return fmt.Errorf("%s: document %d: %w", name, number, err)
		}
	}
}

// addObject adds an object, or the objects of a list.
func (m *Manifests) addObject(object *unstructured.Unstructured, namespace string) error {
	if object.IsList() {
		return object.EachListItem(func(item runtime.Object) error {
			one, ok := item.(*unstructured.Unstructured)
			if !ok {
				return errors.New("the list has an item that is no object")
			}
			return m.addObject(one, namespace)
		})
	}
	key := types.NamespacedName{Namespace: cmp.Or(object.GetNamespace(), namespace), Name: object.GetName()}
	switch kind := object.GetKind(); {
	case kind == wire.Kind && object.GroupVersionKind().Group == wire.Group:
		resource := &v2beta1.AzureKeyVaultSecret{}
		if convert(object.Object, resource) != nil {
			return fmt.Errorf("AzureKeyVaultSecret %q has a field of another type than the CRD", key.Name)
		}
		resource.Namespace = key.Namespace
		if m.resources == nil {
			m.resources = map[types.NamespacedName]*v2beta1.AzureKeyVaultSecret{}
		}
		m.resources[key] = resource
	case kind == inject.KindConfigMap, kind == inject.KindSecret:
		return m.addSource(object, manifestKey{kind, key})
	default:
		return m.addPod(object, key)
	}
	return nil
}

// convert converts an object to its type.
func convert(content map[string]any, into any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(content, into)
}

// addSource adds a ConfigMap or Secret, of which only references are kept.
func (m *Manifests) addSource(object *unstructured.Unstructured, key manifestKey) error {
	var source inject.Source
	if key.kind == inject.KindConfigMap {
		var typed corev1.ConfigMap
		if convert(object.Object, &typed) != nil {
			return fmt.Errorf("ConfigMap %q has data that are no texts", key.Name)
		}
		source = inject.NewSource(typed.Data)
	} else {
		var typed corev1.Secret
		if convert(object.Object, &typed) != nil {
			return fmt.Errorf("%s %q has data that are not in base64", key.kind, key.Name)
		}
		all := map[string]string{}
		for name, value := range typed.Data {
			all[name] = string(value)
		}
		for name, value := range typed.StringData {
			all[name] = value
		}
		source = inject.NewSource(all)
	}
	if m.sources == nil {
		m.sources = map[manifestKey]inject.Source{}
	}
	m.sources[key] = source
	return nil
}

// addPod adds a pod, or the pod template of any kind of workload.
func (m *Manifests) addPod(object *unstructured.Unstructured, key types.NamespacedName) error {
	template := object.Object
	for _, path := range [][]string{{"spec", "template"}, {"spec", "jobTemplate", "spec", "template"}} {
		if found, ok, _ := unstructured.NestedMap(object.Object, path...); ok {
			template = found
		}
	}
	if _, ok, _ := unstructured.NestedSlice(template, "spec", "containers"); !ok {
		return nil
	}
	pod := &corev1.Pod{}
	if convert(template, pod) != nil {
		return fmt.Errorf("the pod of %s %q has a field of another type than Kubernetes", object.GetKind(), key.Name)
	}
	pod.Namespace, pod.Status = key.Namespace, corev1.PodStatus{}
	m.pods = append(m.pods, manifestPod{object.GetKind(), key.Name, pod})
	return nil
}

// ManifestPods explains the pods of the manifests, as if they were created now.
func (e *Explainer) ManifestPods(ctx context.Context) ([]*Pod, error) {
	if len(e.Manifests.pods) == 0 {
		return nil, fault.NewWithNextStep(fault.Invalid, "name files with a Pod, or a workload such as a Deployment",
			"the files have no pod")
	}
	var all []*Pod
	for _, m := range e.Manifests.pods {
		result := &Pod{Kind: m.kind, Namespace: m.pod.Namespace, Name: m.name}
		explained, err := e.explainPod(ctx, m.pod, result)
		if err != nil {
			return nil, err
		}
		all = append(all, explained)
	}
	return all, nil
}
