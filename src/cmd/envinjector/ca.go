package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/servingcert"
)

// renewCA renews the CA. Running replicas load the new one without a restart.
func renewCA(ctx context.Context, s settings, renew func(*servingcert.Rotator, context.Context) error,
	stdout io.Writer) error {
	live, err := s.newClient()
	if err != nil {
		return err
	}
	secret := s.servingSecretName()
	keeper, err := servingcert.New(servingcert.Config{Live: live, Writer: live, Secret: secret,
		WebhookConfigName: s.serviceName,
		DNSNames:          []string{s.serviceName}, Clock: time.Now, Random: rand.Reader})
	if err != nil {
		return err
	}
	if err := renew(keeper, ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "Secret %s has a new CA\n", secret)
	return err
}

// migrateV1CA copies the CA of a v1 release. The chart's hook runs it before an upgrade.
func migrateV1CA(ctx context.Context, s settings, stdout io.Writer) error {
	live, err := s.newClient()
	if err != nil {
		return err
	}
	done, err := servingcert.MigrateV1CA(ctx, live, s.servingSecretName(), s.v1CASecrets)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, done)
	return err
}

// servingSecretName is the name of the Secret with the CA.
func (s settings) servingSecretName() types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.serviceName + "-serving"}
}

// newClient creates a client for Secrets.
func (s settings) newClient() (client.Client, error) {
	config, err := s.RESTConfig()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return client.New(config, client.Options{Scheme: scheme})
}

// ownDeployment is the Deployment of the env-injector, which shows whether replicas of an older version are left.
type ownDeployment struct {
	live client.Reader
	name types.NamespacedName
}

// isRolloutComplete reports whether every replica, except terminating ones, has the newest pod template.
func (r ownDeployment) isRolloutComplete(ctx context.Context) (bool, error) {
	var d appsv1.Deployment
	if err := r.live.Get(ctx, r.name, &d); err != nil {
		return false, fmt.Errorf("reading Deployment %s: %w", r.name, err)
	}
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas > 0 &&
		d.Status.UpdatedReplicas == d.Status.Replicas, nil
}
