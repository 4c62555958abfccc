package main

import (
	"context"
	"fmt"
	"io"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/controller/definition"
)

// applyCRDs brings the CustomResourceDefinition up to date; the chart's hook runs it before install and upgrade.
func applyCRDs(ctx context.Context, s settings, stdout io.Writer) error {
	config, err := s.restConfig()
	if err != nil {
		return err
	}
	live, err := client.New(config, client.Options{Scheme: runtime.NewScheme()})
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	done, err := definition.Apply(ctx, live)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, done)
	return err
}

// checkCRDs refuses to work by an older definition. Where nobody may look, which is an installation for one namespace
// without crds.upgrade, it is not checked.
func checkCRDs(ctx context.Context, live client.Reader, logger logr.Logger) error {
	err := definition.Check(ctx, live)
	if apierrors.IsForbidden(err) {
		logger.Info("the CustomResourceDefinition is not checked: it may not be read", "error", err.Error())
		return nil
	}
	return err
}
