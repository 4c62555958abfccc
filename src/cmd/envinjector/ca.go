package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/servingcert"
)

const caUsage = "use ca rotate (the next CA, cross-signed by the current one) or ca replace (a new CA; injected pods " +
	"must be recreated)"

// renewCA rotates or replaces the CA. Running replicas load the new one without a restart.
func renewCA(ctx context.Context, s settings, how string, stdout io.Writer) error {
	act := map[string]func(*servingcert.Rotator) error{
		"rotate":  func(k *servingcert.Rotator) error { return k.RotateCA(ctx) },
		"replace": func(k *servingcert.Rotator) error { return k.ReplaceCA(ctx) },
	}[how]
	if act == nil {
		return errors.New(caUsage)
	}
	live, err := s.newClient()
	if err != nil {
		return err
	}
	secret := s.servingSecretName()
	v1CA, err := s.newV1CA(live, live)
	if err != nil {
		return err
	}
	keeper, err := servingcert.New(servingcert.Config{Live: live, Writer: live, Secret: secret,
		WebhookConfigName: s.serviceName,
		DNSNames:          []string{s.serviceName}, Clock: time.Now, Random: rand.Reader, ExtraCAs: v1CA})
	if err != nil {
		return err
	}
	if err := act(keeper); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "Secret %s has a new CA\n", secret)
	return err
}

// servingSecretName is the name of the Secret with the CA.
func (s settings) servingSecretName() types.NamespacedName {
	return types.NamespacedName{Namespace: s.namespace, Name: s.serviceName + "-serving"}
}

// newClient creates a client for Secrets.
func (s settings) newClient() (client.Client, error) {
	config, err := clientcmd.BuildConfigFromFlags(s.master, s.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("finding the API server: %w; run in a cluster or give --kubeconfig", err)
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return client.New(config, client.Options{Scheme: scheme})
}
