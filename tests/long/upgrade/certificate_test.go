//go:build cluster

package upgrade

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/tests/cluster/pki"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// issued is a certificate for hosts, and the CA that it is of: ca.crt, tls.crt and tls.key.
func issued(t *testing.T, hosts ...string) map[string][]byte {
	t.Helper()
	folder := t.TempDir()
	ca, err := pki.NewAuthority(folder, "ca")
	require.NoError(t, err)
	require.NoError(t, ca.Issue(pki.Identity{File: "tls", Name: "webhook", Hosts: hosts}))
	data := map[string][]byte{}
	for _, name := range []string{"ca.crt", "tls.crt", "tls.key"} {
		data[name], err = os.ReadFile(filepath.Join(folder, name))
		require.NoError(t, err)
	}
	return data
}

// replicas are the env-injector's pods, by uid, with the number of their restarts.
func replicas(t *testing.T) map[types.UID]int32 {
	t.Helper()
	var pods corev1.PodList
	require.NoError(t, s.Client.List(t.Context(), &pods, client.InNamespace(home), client.MatchingLabels{"app.kubernetes.io/component": "akv2k8s-webhook"}))
	all := map[types.UID]int32{}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.DeletionTimestamp == nil && len(p.Status.ContainerStatuses) == 1 {
			all[p.UID] = p.Status.ContainerStatuses[0].RestartCount
		}
	}
	return all
}

// hurry makes the kubelet look at the pods, and so at what is mounted in them, which it does each minute anyway.
func hurry(t *testing.T, turn string) {
	t.Helper()
	var pods corev1.PodList
	require.NoError(t, s.Client.List(t.Context(), &pods, client.InNamespace(home)))
	for i := range pods.Items {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"test/turn":"`+turn+`"}}}`))
		require.NoError(t, client.IgnoreNotFound(s.Client.Patch(t.Context(), &pods.Items[i], patch)))
	}
}

// admitted waits until the API server believes every replica: some tries in a row.
func admitted(t *testing.T) {
	t.Helper()
	dry, row := client.NewDryRunClient(s.Client), 0
	require.NoError(t, stage.Await(t.Context(), 3*patience, "the certificate to be believed", func(ctx context.Context) error {
		if err := dry.Create(ctx, injected("tried")); err != nil {
			row = 0
			return err
		}
		if row++; row < 20 {
			return fmt.Errorf("%d tries in a row went well", row)
		}
		return nil
	}))
}

// doubleOfCertManager does for the Certificates of the release what cert-manager would: it issues, it issues again, and
// it injects the CA. Its definitions are cert-manager's own.
type doubleOfCertManager struct{ *testing.T }

func (d doubleOfCertManager) install() {
	cmd := exec.CommandContext(d.Context(), "go", "mod", "download", "-json", "github.com/cert-manager/cert-manager")
	cmd.Dir = filepath.Join(s.Root, "tests", "tools", "cert-manager")
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.Output()
	require.NoError(d, err)
	var module struct{ Dir string }
	require.NoError(d, json.Unmarshal(out, &module))
	for _, name := range []string{"issuers", "certificates"} {
		content, err := os.ReadFile(filepath.Join(module.Dir, "deploy", "crds", "cert-manager.io_"+name+".yaml"))
		require.NoError(d, err)
		require.NoError(d, s.Apply(d.Context(), "", string(content)))
	}
	for _, kind := range []string{"Issuer", "Certificate"} {
		require.NoError(d, stage.Await(d.Context(), patience, kind, func(ctx context.Context) error {
			return s.Client.List(ctx, &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "cert-manager.io/v1", "kind": kind + "List"}})
		}))
	}
}

// issue waits for the Certificate, and fills its Secret and the webhook configuration that asks for its CA.
func (d doubleOfCertManager) issue(ctx context.Context) error {
	name := types.NamespacedName{Namespace: home, Name: "akv2k8s-envinjector-tls-cm"}
	certificate := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "cert-manager.io/v1", "kind": "Certificate"}}
	if err := stage.Await(ctx, patience, "the Certificate", func(ctx context.Context) error { return s.Client.Get(ctx, name, certificate) }); err != nil {
		return err
	}
	hosts, _, err := unstructured.NestedStringSlice(certificate.Object, "spec", "dnsNames")
	if err != nil {
		return err
	}
	into, _, err := unstructured.NestedString(certificate.Object, "spec", "secretName")
	if err != nil {
		return err
	}
	data := issued(d.T, hosts...)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: into}, Type: corev1.SecretTypeTLS, Data: data}
	if err := s.Client.Create(ctx, secret); err != nil {
		if err := s.Client.Update(ctx, secret); err != nil {
			return err
		}
	}
	return stage.Await(ctx, patience, "the webhook configuration", func(ctx context.Context) error {
		var hook admissionv1.MutatingWebhookConfiguration
		if err := s.Client.Get(ctx, types.NamespacedName{Name: "akv2k8s-envinjector"}, &hook); err != nil {
			return err
		}
		if hook.Annotations["cert-manager.io/inject-ca-from"] != name.String() {
			return fmt.Errorf("it does not ask for the CA")
		}
		hook.Webhooks[0].ClientConfig.CABundle = data["ca.crt"]
		return s.Client.Update(ctx, &hook)
	})
}

func certManager(t *testing.T) {
	double := doubleOfCertManager{t}
	double.install()
	issuing := make(chan error, 1)
	go func() { issuing <- double.issue(t.Context()) }()
	install(t, map[string]any{"env_injector": map[string]any{"certificate": map[string]any{"useCertManager": true}}})
	require.NoError(t, <-issuing)
	admitted(t)
	injectedBundle := bundle(t)
	awaitPassword(t, "by-cert-manager")
	before := replicas(t)
	require.NoError(t, double.issue(t.Context()))
	hurry(t, "cert-manager")
	admitted(t)
	assert.NotEqual(t, injectedBundle, bundle(t))
	assert.Equal(t, before, replicas(t), "nobody was restarted")
	awaitPassword(t, "by-cert-manager-again")
}

func ownCertificate(t *testing.T) {
	values := func(data map[string][]byte) map[string]any {
		text := func(name string) string { return base64.StdEncoding.EncodeToString(data[name]) }
		return map[string]any{"env_injector": map[string]any{"certificate": map[string]any{"custom": map[string]any{"enabled": true,
			"server": map[string]any{"tls": map[string]any{"crt": text("tls.crt"), "key": text("tls.key")}}, "ca": map[string]any{"crt": text("ca.crt")}}}}}
	}
	host := "akv2k8s-envinjector." + home + ".svc"
	first, second := issued(t, host), issued(t, host)
	install(t, values(first))
	admitted(t)
	assert.Equal(t, string(first["ca.crt"]), bundle(t))
	awaitPassword(t, "by-own")
	before := replicas(t)
	install(t, values(second))
	hurry(t, "own")
	admitted(t)
	assert.Equal(t, string(second["ca.crt"]), bundle(t))
	assert.Equal(t, before, replicas(t), "nobody was restarted")
	awaitPassword(t, "by-own-again")
	// Back to a CA of our own, which the env-injector writes again.
	install(t, nil)
	admitted(t)
	assert.False(t, strings.Contains(bundle(t), string(second["ca.crt"])))
	awaitPassword(t, "by-ourselves")
}
