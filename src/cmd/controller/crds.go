package main

import (
	"context"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/controller/crdupgrade"
)

// applyCRDs updates the CustomResourceDefinition. The chart's hook runs it before install and upgrade.
func (s *settings) applyCRDs(ctx context.Context, stdout io.Writer) error {
	config, err := s.RESTConfig()
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
