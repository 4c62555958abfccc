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

const caUsage = "write ca rotate (the next CA, which the one before vouches for) or ca replace (a new one; injected pods have to be recreated)"

// renewCA changes the CA; the replicas that run take it over by themselves.
func renewCA(ctx context.Context, s settings, how string, stdout io.Writer) error {
	act := map[string]func(*servingcert.Keeper) error{
		"rotate":  func(k *servingcert.Keeper) error { return k.Rotate(ctx) },
		"replace": func(k *servingcert.Keeper) error { return k.Replace(ctx) },
	}[how]
	if act == nil {
		return errors.New(caUsage)
	}
	config, err := clientcmd.BuildConfigFromFlags(s.master, s.kubeconfig)
	if err != nil {
		return fmt.Errorf("finding the API server: %w; run in a cluster or give --kubeconfig", err)
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return err
	}
	live, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	secret := types.NamespacedName{Namespace: s.namespace, Name: s.service + "-serving"}
	keeper, err := servingcert.New(servingcert.Config{Live: live, Writer: live, Secret: secret, Webhook: s.service, DNSNames: []string{s.service}, Clock: time.Now, Random: rand.Reader})
	if err != nil {
		return err
	}
	if err := act(keeper); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "the CA in Secret %s is a new one\n", secret)
	return err
}
