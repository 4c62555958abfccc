package envinjector

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/servingcert"
)

// RotateCA creates the next CA, cross-signed by the current one. It prints the name of the Secret.
func RotateCA(ctx context.Context, s Settings, stdout io.Writer) error {
	return renewCA(ctx, s, (*servingcert.Rotator).RotateCA, stdout)
}

// ReplaceCA creates a new CA, which injected pods do not trust until they are recreated. It prints the name of the
// Secret.
func ReplaceCA(ctx context.Context, s Settings, stdout io.Writer) error {
	return renewCA(ctx, s, (*servingcert.Rotator).ReplaceCA, stdout)
}

// renewCA renews the CA. Running replicas load the new one without a restart.
func renewCA(ctx context.Context, s Settings, renew func(*servingcert.Rotator, context.Context) error,
	stdout io.Writer) error {
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
	if err := renew(keeper, ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "Secret %s has a new CA\n", secret)
	return err
}

// servingSecretName is the name of the Secret with the CA.
func (s Settings) servingSecretName() types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.serviceName + "-serving"}
}

// newClient creates a client for Secrets.
func (s Settings) newClient() (client.Client, error) {
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
