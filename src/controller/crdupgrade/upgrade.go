package crdupgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/crd"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/logkey"
)

// fieldManager is the field manager that applies the definition.
const fieldManager = "akv2k8s-crds"

// The timeout for the API server to serve an applied definition, and the interval between two checks.
const (
	servedTimeout      = time.Minute
	servedPollInterval = 250 * time.Millisecond
)

// manualUpgradeAdvice is the advice in errors: how to update the definition by hand.
const manualUpgradeAdvice = "run helm show crds CHART | kubectl apply --server-side --force-conflicts -f - (CHART is " +
	"the chart that was installed), or helm upgrade with crds.upgrade=true"

// CheckSchema returns an error if the live definition is missing or its schema is older than the one that this program
// needs. A newer schema is accepted. If the caller has no permission to read the definition, the error is an
// apierrors.IsForbidden error.
func CheckSchema(ctx context.Context, live client.Reader) error {
	found, err := readLiveMetadata(ctx, live)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading CustomResourceDefinition %s: %w", crd.Name, err)
	}
	if err != nil {
		found = nil
	}
	finding, err := SchemaFinding(found)
	if err != nil || finding == nil {
		return err
	}
	return finding.Err(fault.Invalid)
}

// SchemaFinding returns what is wrong with the metadata of the live definition, which is nil if there is none. The
// finding is nil if the schema is as new as this program's. kubectl akv2k8s doctor reports the same finding.
func SchemaFinding(live *metav1.PartialObjectMetadata) (*doctor.Finding, error) {
	if live == nil {
		return &doctor.Finding{Severity: doctor.Error, What: "CustomResourceDefinition " + crd.Name + " does not exist",
			Try: manualUpgradeAdvice}, nil
	}
	wanted, err := bundledDefinition()
	if err != nil {
		return nil, err
	}
	if is, needed := crd.Schema(live.Annotations), crd.Schema(wanted.GetAnnotations()); is < needed {
		return &doctor.Finding{Severity: doctor.Error, What: fmt.Sprintf(
			"CustomResourceDefinition %s has schema %d, and this version needs %d: fields would be lost", crd.Name, is,
			needed), Try: manualUpgradeAdvice}, nil
	}
	return nil, nil
}

// CheckSchemaIfReadable is CheckSchema for a program that can lack the right to read the definition: in an installation
// for one namespace without crds.upgrade. It logs that it skips the check then.
func CheckSchemaIfReadable(ctx context.Context, live client.Reader, logger logr.Logger) error {
	err := CheckSchema(ctx, live)
	if apierrors.IsForbidden(err) {
		logger.Info("skipping the check of the CustomResourceDefinition: reading it is forbidden", logkey.Error,
			err.Error())
		return nil
	}
	return err
}

// ApplyAndPrint is Apply for a program: it connects to the API server, and prints what was done.
func ApplyAndPrint(ctx context.Context, config *rest.Config, stdout io.Writer) error {
	live, err := client.New(config, client.Options{Scheme: runtime.NewScheme()})
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	done, err := Apply(ctx, live)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, done)
	return err
}

// Apply creates the definition, or updates an older one, and waits until the API server serves it. It returns a
// sentence that says what was done. Apply leaves a newer definition unchanged, because another installation in the
// cluster needs it.
func Apply(ctx context.Context, c client.Client) (string, error) {
	wanted, err := bundledDefinition()
	if err != nil {
		return "", err
	}
	found, err := readLiveMetadata(ctx, c)
	switch {
	case apierrors.IsNotFound(err):
		found = &metav1.PartialObjectMetadata{}
	case err != nil:
		return "", fmt.Errorf("reading CustomResourceDefinition %s: %w", crd.Name, err)
	}
	is, will := crd.Schema(found.Annotations), crd.Schema(wanted.GetAnnotations())
	if is > will {
		return fmt.Sprintf("CustomResourceDefinition %s has schema %d, newer than our %d; not changed", crd.Name, is,
			will), nil
	}
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(wanted), client.FieldOwner(fieldManager),
		client.ForceOwnership); err != nil {
		return "", fmt.Errorf("applying CustomResourceDefinition %s: %w", crd.Name, err)
	}
	if err := waitUntilServed(ctx, c); err != nil {
		return "", err
	}
	return fmt.Sprintf("CustomResourceDefinition %s has schema %d", crd.Name, will), nil
}

func readLiveMetadata(ctx context.Context, live client.Reader) (*metav1.PartialObjectMetadata, error) {
	found := &metav1.PartialObjectMetadata{}
	found.SetGroupVersionKind(emptyDefinition().GroupVersionKind())
	return found, live.Get(ctx, types.NamespacedName{Name: crd.Name}, found)
}

// bundledDefinition returns the definition that this program was built with.
func bundledDefinition() (*unstructured.Unstructured, error) {
	u := emptyDefinition()
	if err := yaml.Unmarshal(crd.YAML(), &u.Object); err != nil {
		return nil, fmt.Errorf("parsing the embedded CustomResourceDefinition: %w", err)
	}
	return u, nil
}

func emptyDefinition() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("apiextensions.k8s.io/v1")
	u.SetKind("CustomResourceDefinition")
	return u
}

// waitUntilServed waits until the API server serves the resource.
func waitUntilServed(ctx context.Context, live client.Reader) error {
	var why error
	err := wait.PollUntilContextTimeout(ctx, servedPollInterval, servedTimeout, true,
		func(ctx context.Context) (bool, error) {
			why = checkEstablished(ctx, live)
			return why == nil, nil //nolint:nilerr // the next poll retries
		})
	if err != nil && why != nil {
		err = why
	}
	if err != nil {
		return fmt.Errorf("waiting for CustomResourceDefinition %s to be served: %w", crd.Name, err)
	}
	return nil
}

// checkEstablished returns an error that says why the resource is not served yet, or nil if it is.
func checkEstablished(ctx context.Context, live client.Reader) error {
	u := emptyDefinition()
	if err := live.Get(ctx, types.NamespacedName{Name: crd.Name}, u); err != nil {
		return err
	}
	conditions, _, err := unstructured.NestedSlice(u.Object, "status", "conditions")
	if err != nil {
		return err
	}
	why := errors.New("the API server has not processed it yet")
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		switch {
		case condition["type"] == "NamesAccepted" && condition["status"] == "False":
			return fmt.Errorf("its names conflict with another definition: %v", condition["message"])
		case condition["type"] == "Established" && condition["status"] == "True":
			why = nil
		}
	}
	return why
}
