//go:build cluster

package authprocesses

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// rotation is a controller that looks at its vault each second, as a principal whose tokens live for seconds.
type rotation struct {
	*bench
	*testing.T
	namespace string
	principal entra.Principal
	flow      string
}

// begin starts it, and waits for the first value.
func (r rotation) begin(env map[string]string, flags ...string) {
	r.Helper()
	require.NoError(r, r.azure.ApplySeed(emulator.Seed{Principals: []entra.Principal{r.principal}, Vaults: map[string]emulator.VaultSeed{"kv-" + r.namespace: {
		Permissions: map[string][]string{r.principal.ObjectID: {"get"}}, Secrets: map[string]keyvault.Secret{"db": {Value: "before"}}}}}))
	r.bench.namespace(r.T, r.namespace, true)
	patch := []byte(`{"spec":{"vault":{"name":"kv-` + r.namespace + `"}}}`)
	_, err := r.stage.Kube.CoreV1().RESTClient().Patch(types.MergePatchType).AbsPath("/apis/spv.no/v2beta1/namespaces/" + r.namespace + "/azurekeyvaultsecrets/db").Body(patch).DoRaw(r.Context())
	require.NoError(r, err)
	require.NoError(r, r.stage.Client.Create(r.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: r.namespace + "-status-key"}}))
	env["HTTP_PORT"] = freePort(r.T)
	r.component(r.T, "controller", r.namespace, env, append(flags, "--fullname="+r.namespace, "--azure-resync-period=1")...)
	r.await("before")
}

func (r rotation) await(value string) {
	r.Helper()
	require.NoError(r, stage.Await(r.Context(), patience, "the Secret to be "+value, func(ctx context.Context) error {
		var secret corev1.Secret
		if err := r.stage.Client.Get(ctx, types.NamespacedName{Namespace: r.namespace, Name: "db"}, &secret); err != nil {
			return err
		}
		if string(secret.Data["v"]) != value {
			return fmt.Errorf("it is not; %s", r.condition(ctx, r.namespace))
		}
		return nil
	}))
}

// put changes the vault's object and waits for the Secret to follow.
func (r rotation) put(value string) {
	r.Helper()
	r.azure.Vaults.PutSecret("kv-"+r.namespace, "db", keyvault.Secret{Value: value})
	r.await(value)
	require.NoError(r, stage.Await(r.Context(), patience, "a good condition", func(ctx context.Context) error {
		if said := r.condition(ctx, r.namespace); len(said) < 6 || said[:6] != "Synced" {
			return fmt.Errorf("it is %s", said)
		}
		return nil
	}))
}

func (r rotation) tokens() int {
	return r.azure.Counters()["token "+r.flow+" "+r.principal.Name+" 200"]
}

// rotatedSecret runs for longer than a token lives, and changes the secret in azure.json meanwhile.
func (b *bench) rotatedSecret(t *testing.T) {
	p := other(30, func(p *entra.Principal) { p.TokenSeconds = 8 })
	r := rotation{b, t, "rotated-secret", p, "client-secret"}
	file := func(secret string) string {
		content, err := json.Marshal(map[string]any{"tenantId": azuretest.Tenant, "aadClientId": p.ClientID, "aadClientSecret": secret})
		require.NoError(t, err)
		return string(content)
	}
	path := b.write(t, "rotated.json", file(p.Secret))
	r.begin(map[string]string{"AUTH_TYPE": "azureCloudConfig"}, "--cloud-config="+path)
	first := r.tokens()
	require.Eventually(t, func() bool { return r.tokens() > first }, patience, 100*time.Millisecond, "a token that expires is replaced")
	r.put("after the token expired")

	renewed := p
	renewed.Secret = "of-the-other-renewed"
	require.NoError(t, os.WriteFile(path, []byte(file(renewed.Secret)), 0o600))
	b.azure.Directory.Register(renewed) // the old secret is gone
	r.put("after the rotation")
}

// rotatedCertificate changes the mounted certificate, as the kubelet does when its Secret is changed.
func (b *bench) rotatedCertificate(t *testing.T) {
	before, registered := certificate(t, time.Now().Add(time.Hour))
	after, renewed := certificate(t, time.Now().Add(2*time.Hour))
	p := other(31, func(p *entra.Principal) { p.TokenSeconds, p.Secret, p.Certificates = 8, "", registered })
	r := rotation{b, t, "rotated-certificate", p, "assertion"}
	path := b.write(t, "rotated.pfx", before)
	r.begin(map[string]string{"AUTH_TYPE": "environment", "AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": p.ClientID, "AZURE_CERTIFICATE_PATH": path,
		"AZURE_CERTIFICATE_PASSWORD": password})
	require.NoError(t, os.WriteFile(path, []byte(after), 0o600))
	p.Certificates = renewed
	b.azure.Directory.Register(p) // the old certificate is gone
	first := r.tokens()
	require.Eventually(t, func() bool { return r.tokens() > first }, patience, 100*time.Millisecond, "a token is got by the new certificate")
	r.put("after the rotation")
}
