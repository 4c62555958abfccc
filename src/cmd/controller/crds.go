package main

import (
	"context"
	"fmt"
	"io"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/controller/crdupgrade"
)

// applyCRDs updates the CustomResourceDefinition. The chart's hook runs it before install and upgrade.
func applyCRDs(ctx context.Context, s settings, stdout io.Writer) error {
	config, err := s.restConfig()
	if err != nil {
		return err
	}
	live, err := client.New(config, client.Options{Scheme: runtime.NewScheme()})
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	done, err := crdupgrade.Apply(ctx, live)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, done)
	return err
}

// checkCRDs returns an error if the CustomResourceDefinition is older than the program. It skips the check if the
// program has no right to read it: in an installation for one namespace without crds.upgrade.
func checkCRDs(ctx context.Context, live client.Reader, logger logr.Logger) error {
	err := crdupgrade.CheckSchema(ctx, live)
	if apierrors.IsForbidden(err) {
		logger.Info("skipping the check of the CustomResourceDefinition: reading it is forbidden", "error", err.Error())
		return nil
	}
	return err
}
