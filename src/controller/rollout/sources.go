package rollout

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/controller/redactederror"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// sourceKey identifies a ConfigMap or Secret of the namespace.
type sourceKey struct {
	isSecret bool
	name     string
}

// sources finds references in the ConfigMaps and Secrets from which pods take their environment. It reads each of them
// once, and keeps only the names in references.
type sources struct {
	reader    client.Reader
	namespace string
	// names holds the name in the reference of each data key that has one.
	names map[sourceKey]map[string]string
	// isExceeded is true if there were more than limits.RestartSources.
	isExceeded bool
}

func (s *sources) exceededText() string {
	return fmt.Sprintf("workloads whose references are in one of more than %d ConfigMaps and Secrets, which are not "+
		"searched; list them in spec.rolloutRestart.workloads, or set a selector", limits.RestartSources)
}

// haveReference reports whether a source of the pod's environment has a reference to the resource.
func (s *sources) haveReference(ctx context.Context, pod corev1.PodSpec, resource string) (bool, error) {
	found := false
	check := func(key sourceKey, dataKey string) error {
		if found || key.name == "" {
			return nil
		}
		names, err := s.namesIn(ctx, key)
		for from, name := range names {
			found = found || name == resource && (dataKey == "" || dataKey == from)
		}
		return err
	}
	for _, containers := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for _, container := range containers {
			if err := checkEnvironment(container, check); err != nil {
				return false, err
			}
		}
	}
	return found, nil
}

// checkEnvironment calls check for each source of the container. The data key is empty if all of them are variables.
func checkEnvironment(container corev1.Container, check func(key sourceKey, dataKey string) error) error {
	for _, from := range container.EnvFrom {
		var key sourceKey
		if from.ConfigMapRef != nil {
			key = sourceKey{false, from.ConfigMapRef.Name}
		} else if from.SecretRef != nil {
			key = sourceKey{true, from.SecretRef.Name}
		}
		if err := check(key, ""); err != nil {
			return err
		}
	}
	for _, variable := range container.Env {
		if variable.ValueFrom == nil {
			continue
		}
		if ref := variable.ValueFrom.ConfigMapKeyRef; ref != nil {
			if err := check(sourceKey{false, ref.Name}, ref.Key); err != nil {
				return err
			}
		}
		if ref := variable.ValueFrom.SecretKeyRef; ref != nil {
			if err := check(sourceKey{true, ref.Name}, ref.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

// namesIn returns the names in the references of a source, by data key. A source that does not exist has none.
func (s *sources) namesIn(ctx context.Context, key sourceKey) (map[string]string, error) {
	if names, ok := s.names[key]; ok {
		return names, nil
	}
	if len(s.names) >= limits.RestartSources {
		s.isExceeded = true
		return nil, nil
	}
	texts, err := s.readSource(ctx, key)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for dataKey, text := range texts {
		if name := referencedName(text); name != "" {
			names[dataKey] = name
		}
	}
	if s.names == nil {
		s.names = map[sourceKey]map[string]string{}
	}
	s.names[key] = names
	return names, nil
}

func (s *sources) readSource(ctx context.Context, key sourceKey) (map[string]string, error) {
	name := client.ObjectKey{Namespace: s.namespace, Name: key.name}
	if !key.isSecret {
		var source corev1.ConfigMap
		err := s.reader.Get(ctx, name, &source)
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return source.Data, redactederror.Wrap(err, "reading ConfigMap %s", name)
	}
	var source corev1.Secret
	if err := s.reader.Get(ctx, name, &source); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, redactederror.Wrap(err, "reading Secret %s", name)
	}
	texts := make(map[string]string, len(source.Data))
	for dataKey, value := range source.Data {
		texts[dataKey] = string(value)
	}
	return texts, nil
}
