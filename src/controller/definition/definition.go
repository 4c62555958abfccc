package definition

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/crd"
)

// fieldManager owns the definition's fields.
const fieldManager = "akv2k8s-crds"

// How long the API server may take to serve what it accepted, and how often it is asked.
const (
	patience = time.Minute
	pause    = 250 * time.Millisecond
)

// remedy is what brings the definition up to date by hand.
const remedy = "run helm show crds CHART | kubectl apply --server-side --force-conflicts -f - (CHART is what helm " +
	"was given), or helm upgrade with crds.upgrade=true"

// Check says that the live definition is as new as ours, or what to run. It is nil also for a newer one. An error that
// IsForbidden means that it could not be looked at.
func Check(ctx context.Context, live client.Reader) error {
	found, err := read(ctx, live)
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("there is no CustomResourceDefinition %s; %s", crd.Name, remedy)
	case err != nil:
		return fmt.Errorf("reading CustomResourceDefinition %s: %w", crd.Name, err)
	}
	wanted, err := ours()
	if err != nil {
		return err
	}
	if is, needed := crd.Schema(found.Annotations), crd.Schema(wanted.GetAnnotations()); is < needed {
		return fmt.Errorf("CustomResourceDefinition %s has schema %d, and this version needs %d: fields would be "+
			"lost; %s", crd.Name, is, needed, remedy)
	}
	return nil
}

// Apply writes our definition over an older one, or where there is none, and waits until it is served. It says what it
// did. One that is newer belongs to another installation in this cluster, and stays.
func Apply(ctx context.Context, c client.Client) (string, error) {
	wanted, err := ours()
	if err != nil {
		return "", err
	}
	found, err := read(ctx, c)
	switch {
	case apierrors.IsNotFound(err):
		found = &metav1.PartialObjectMetadata{}
	case err != nil:
		return "", fmt.Errorf("reading CustomResourceDefinition %s: %w", crd.Name, err)
	}
	is, will := crd.Schema(found.Annotations), crd.Schema(wanted.GetAnnotations())
	if is > will {
		return fmt.Sprintf("CustomResourceDefinition %s has schema %d, newer than our %d; left as it is", crd.Name, is,
			will), nil
	}
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(wanted), client.FieldOwner(fieldManager),
		client.ForceOwnership); err != nil {
		return "", fmt.Errorf("applying CustomResourceDefinition %s: %w", crd.Name, err)
	}
	if err := served(ctx, c); err != nil {
		return "", err
	}
	return fmt.Sprintf("CustomResourceDefinition %s has schema %d", crd.Name, will), nil
}

func read(ctx context.Context, live client.Reader) (*metav1.PartialObjectMetadata, error) {
	found := &metav1.PartialObjectMetadata{}
	found.SetGroupVersionKind(empty().GroupVersionKind())
	return found, live.Get(ctx, types.NamespacedName{Name: crd.Name}, found)
}

// ours is the definition that this program was built with.
func ours() (*unstructured.Unstructured, error) {
	u := empty()
	if err := yaml.Unmarshal(crd.YAML(), &u.Object); err != nil {
		return nil, fmt.Errorf("reading our own CustomResourceDefinition: %w", err)
	}
	return u, nil
}

func empty() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("apiextensions.k8s.io/v1")
	u.SetKind("CustomResourceDefinition")
	return u
}

// served waits until the API server serves the kind.
func served(ctx context.Context, live client.Reader) error {
	var why error
	err := wait.PollUntilContextTimeout(ctx, pause, patience, true, func(ctx context.Context) (bool, error) {
		why = established(ctx, live)
		return why == nil, nil //nolint:nilerr // it is asked again
	})
	if err != nil && why != nil {
		err = why
	}
	if err != nil {
		return fmt.Errorf("waiting for CustomResourceDefinition %s to be served: %w", crd.Name, err)
	}
	return nil
}

// established says why the kind is not served, or nil.
func established(ctx context.Context, live client.Reader) error {
	u := empty()
	if err := live.Get(ctx, types.NamespacedName{Name: crd.Name}, u); err != nil {
		return err
	}
	conditions, _, err := unstructured.NestedSlice(u.Object, "status", "conditions")
	if err != nil {
		return err
	}
	why := errors.New("the API server has not looked at it yet")
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		switch {
		case condition["type"] == "NamesAccepted" && condition["status"] == "False":
			return fmt.Errorf("its names are taken: %v", condition["message"])
		case condition["type"] == "Established" && condition["status"] == "True":
			why = nil
		}
	}
	return why
}
