package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/findinglog"
	emulated "github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
	"github.com/akv2k8s/akv2k8s/src/testkit/clustertest"
)

// envRunProgram makes the test binary be the program: a process reads the proxy of its environment only once.
const envRunProgram = "AKV2K8S_TEST_RUN_CONTROLLER"

func TestMain(m *testing.M) {
	if os.Getenv(envRunProgram) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// runInProcess runs the program as a process with this environment alone.
func runInProcess(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(environ, envRunProgram+"=1"), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// azureResource is a resource for a secret of vault kv1.
func azureResource(namespace, name string) *v2beta1.AzureKeyVaultSecret {
	return &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v2beta1.AzureKeyVaultSecretSpec{
		Vault:  v2beta1.AzureKeyVault{Name: "kv1", Object: v2beta1.AzureKeyVaultObject{Name: name, Type: v2beta1.ObjectTypeSecret}},
		Output: &v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: name, DataKey: "value"}}}}
}

func TestCheckAzurePrintsFindingsAndNoValue(t *testing.T) {
	a := azuretest.Start(t)
	a.Vaults.PutSecret("kv1", "db", emulated.Secret{Value: "canary-4711"})
	a.Vaults.PutSecret("kv1", "off", emulated.Secret{Value: "canary-4711", Disabled: true})
	c := clustertest.New(t)
	clustertest.Remove[*v2beta1.AzureKeyVaultSecret](t, c, "database")
	c.Add(azureResource("team", "db"), azureResource("team", "off"), azureResource("other", "missing"))
	kubeconfig, ca := c.Serve(t, nil), filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(ca, a.CA, 0o600))
	environ := []string{"HTTPS_PROXY=" + a.StartProxy(t), "AUTH_TYPE=environment", "AZURE_TENANT_ID=" + azuretest.Tenant,
		"AZURE_CLIENT_ID=" + azuretest.AppClientID, "AZURE_CLIENT_SECRET=" + a.AppSecret}
	check := func(args ...string) []doctor.Finding {
		t.Helper()
		code, stdout, stderr := runInProcess(t, environ, append([]string{"check-azure", "--kubeconfig", kubeconfig, "--extra-ca-file", ca}, args...)...)
		require.Zero(t, code, stderr)
		assert.NotContains(t, stdout+stderr, "canary-4711")
		assert.NotContains(t, stdout+stderr, a.AppSecret)
		assert.NotContains(t, stdout+stderr, "eyJ", "a token")
		found, err := findinglog.Read(strings.NewReader(stderr + stdout))
		require.NoError(t, err, stdout)
		return found
	}
	whats := func(found []doctor.Finding) (errs []string) {
		for _, f := range found {
			if f.Severity != doctor.OK {
				errs = append(errs, f.Object+": "+f.What)
			}
		}
		return errs
	}
	all := whats(check())
	require.Len(t, all, 2)
	assert.Contains(t, all[0], `akvs other/missing: reading secret "missing" of vault "kv1": the vault has no such object`)
	assert.Contains(t, all[1], `akvs team/off: reading secret "off" of vault "kv1": it is disabled`)
	assert.Len(t, whats(check("--namespace=other")), 1)
	assert.Empty(t, whats(check("--namespace=team", "--resource=db")))

	environ = []string{"AUTH_TYPE=environment", "AZURE_TENANT_ID=" + azuretest.Tenant, "AZURE_CLIENT_ID=" + azuretest.AppClientID}
	incomplete := check()
	require.Len(t, incomplete, 1)
	assert.Equal(t, doctor.Error, incomplete[0].Severity)
	assert.Contains(t, incomplete[0].What+incomplete[0].Try, "AZURE_CLIENT_SECRET")

	code, _, stderr := runInProcess(t, nil, "check-azure", "--resource=db")
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, "--resource needs --namespace")
}
