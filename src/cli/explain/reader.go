package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/cli/explain/admission"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
)

// Explainer explains pods and resources. It reads each object once, so it is made for one command.
type Explainer struct {
	// Reader reads the API server.
	Reader client.Reader
	// Clock returns the current time.
	Clock func() time.Time
	// ReadSecrets allows to read the Secrets that the environment of a pod names. Only references are kept of them.
	ReadSecrets bool
	// Manifests are objects that are not in the cluster yet, and are read in place of those in it.
	Manifests Manifests

	resources map[types.NamespacedName]*resourceRead
	webhooks  admission.Webhooks
}

// resourceRead is an AzureKeyVaultSecret as it was read. Its object is nil if there is none.
type resourceRead struct {
	object *v2beta1.AzureKeyVaultSecret
	recipe recipe.Recipe
	// invalid is why the spec can't work; nil if it can.
	invalid error
}

// readResource reads an AzureKeyVaultSecret from the manifests or the cluster. One that does not exist is no error.
func (e *Explainer) readResource(ctx context.Context, key types.NamespacedName) (*resourceRead, error) {
	if known := e.resources[key]; known != nil {
		return known, nil
	}
	if len(e.resources) >= limits.ResourcesPerRequest {
		return nil, fault.NewWithNextStep(fault.Invalid, "explain fewer pods at a time",
			"there are references to more than %s AzureKeyVaultSecrets", limits.Count(limits.ResourcesPerRequest))
	}
	read := &resourceRead{object: e.Manifests.resources[key]}
	if read.object == nil {
		object := &v2beta1.AzureKeyVaultSecret{}
		err := e.Reader.Get(ctx, key, object)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
		if err == nil {
			read.object = object
		}
	}
	if read.object != nil {
		read.recipe, read.invalid = recipeOf(read.object)
	}
	if e.resources == nil {
		e.resources = map[types.NamespacedName]*resourceRead{}
	}
	e.resources[key] = read
	return read, nil
}

// recipeOf returns the validated spec of a resource, by the rules of the controller and the auth service.
func recipeOf(object *v2beta1.AzureKeyVaultSecret) (recipe.Recipe, error) {
	content, err := json.Marshal(object)
	if err != nil {
		return recipe.Recipe{}, fmt.Errorf("marshalling AzureKeyVaultSecret %q: %w", object.Name, err)
	}
	return fromapi.Parse(content)
}

// namesIn returns some names of AzureKeyVaultSecrets of a namespace, for a reference to one that does not exist.
func (e *Explainer) namesIn(ctx context.Context, namespace string) []string {
	const most = 5
	var list v2beta1.AzureKeyVaultSecretList
	if e.Reader.List(ctx, &list, client.InNamespace(namespace), client.Limit(limits.ClusterListPage)) != nil {
		return nil // the advice lacks the names
	}
	var names []string
	for _, object := range list.Items {
		names = append(names, object.Name)
	}
	slices.Sort(names)
	return names[:min(len(names), most)]
}

// readSources reads the ConfigMaps that the environment of a pod uses, and the Secrets if that is allowed. Of both it
// keeps references alone. The notes say what was not read.
func (e *Explainer) readSources(ctx context.Context, pod *corev1.Pod) (inject.Sources, []string, error) {
	needed := inject.NeededSources(pod)
	if len(needed) > limits.AdmissionSources {
		return nil, nil, fault.NewWithNextStep(fault.Invalid, "merge some of them",
			"the environment of the pod uses %d ConfigMaps and Secrets, and the limit of the env-injector is %d",
			len(needed), limits.AdmissionSources)
	}
	sources := inject.Sources{}
	var secrets, forbidden []string
	for _, name := range needed {
		key := types.NamespacedName{Namespace: pod.Namespace, Name: name.Name}
		if source, ok := e.Manifests.sources[manifestKey{name.Kind, key}]; ok {
			sources[name] = source
			continue
		}
		if name.Kind == inject.KindSecret && !e.ReadSecrets {
			sources[name] = inject.Source{Forbidden: true}
			secrets = append(secrets, name.Name)
			continue
		}
		source, err := e.readSource(ctx, name.Kind, key)
		switch {
		case apierrors.IsNotFound(err):
			source = inject.Source{Missing: true}
		case apierrors.IsForbidden(err):
			source = inject.Source{Forbidden: true}
			forbidden = append(forbidden, fmt.Sprintf("%s %q", name.Kind, name.Name))
		case err != nil:
			return nil, nil, err
		}
		sources[name] = source
	}
	return sources, sourceNotes(secrets, forbidden), nil
}

func sourceNotes(secrets, forbidden []string) []string {
	var notes []string
	if len(secrets) > 0 {
		notes = append(notes, "References in these Secrets are not shown; add --read-secrets to read them: "+
			strings.Join(secrets, ", "))
	}
	if len(forbidden) > 0 {
		notes = append(notes, "You may not read these, so references in them are not shown: "+
			strings.Join(forbidden, ", "))
	}
	return notes
}

func (e *Explainer) readSource(ctx context.Context, kind string, key types.NamespacedName) (inject.Source, error) {
	if kind == inject.KindConfigMap {
		var object corev1.ConfigMap
		err := e.Reader.Get(ctx, key, &object)
		return inject.NewSource(object.Data), err
	}
	var object corev1.Secret
	err := e.Reader.Get(ctx, key, &object)
	return inject.NewSource(object.Data), err
}
