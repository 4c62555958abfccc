package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/program"
)

// runWithEnv runs the program with these environment variables, without a cluster.
func runWithEnv(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	lookup := func(name string) (string, bool) { value, ok := env[name]; return value, ok }
	code = run(t.Context(), args, lookup, &out, &errs)
	return code, out.String(), errs.String()
}

func TestTheProgramAnswersQuestionsWithoutACluster(t *testing.T) {
	code, out, _ := runWithEnv(t, nil, "--version")
	assert.Zero(t, code)
	assert.NotEmpty(t, out)
	code, out, _ = runWithEnv(t, nil, "trust")
	assert.Zero(t, code)
	assert.Contains(t, out, "CN=DigiCert Global Root G2")
	code, out, _ = runWithEnv(t, nil, "--help")
	assert.Zero(t, code)
	for _, part := range []string{"--azure-resync-period SECONDS", "apply-crds", "check-ready", "trust", "RUNTIME_NAMESPACE", "HTTP_PORT"} {
		assert.Contains(t, out, part)
	}
	assert.NotContains(t, out, "print-flags")
	code, out, _ = runWithEnv(t, nil, "apply-crds", "--help")
	assert.Zero(t, code)
	assert.Contains(t, out, "--kubeconfig FILE")
}

func TestSettingsThatCannotWorkAreRefusedAtStart(t *testing.T) {
	azureJSON := filepath.Join(t.TempDir(), "azure.json")
	require.NoError(t, os.WriteFile(azureJSON, []byte(`{"tenantId":"11111111-1111-4111-8111-111111111111","useManagedIdentityExtension":true}`), 0o600))
	environment := map[string]string{"AUTH_TYPE": "environment"}
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		code int
		says string
	}{
		"an unknown flag":        {nil, []string{"--nonsense"}, 2, "unknown flag: --nonsense; run 'controller --help'"},
		"one with a single dash": {nil, []string{"-nonsense"}, 2, "unknown flag: --nonsense; run 'controller --help'"},
		"an unknown subcommand":  {nil, []string{"burn"}, 2, `controller has no subcommand "burn"; use one of: controller apply-crds`},
		"an argument too many":   {nil, []string{"apply-crds", "now"}, 2, `controller apply-crds takes no arguments, but has "now"`},
		"a flag of another":      {nil, []string{"apply-crds", "--workers=3"}, 2, "unknown flag: --workers; run 'controller apply-crds --help'"},
		"no address of profiles": {nil, []string{"--pprof-address=6060"}, 2, "write [HOST]:PORT"},
		"rules that are none":    {nil, []string{"--vault-rules=x"}, 2, "vaultRules"},
		"half of a default":      {nil, []string{"--default-identity=team"}, 2, "NAMESPACE=SERVICEACCOUNT"},
		"metrics neither nor":    {map[string]string{"METRICS_ENABLED": "maybe"}, nil, 2, "METRICS_ENABLED must be true or false"},
		"no port":                {map[string]string{"HTTP_PORT": "x"}, nil, 2, "HTTP_PORT"},
		"port zero":              {map[string]string{"HTTP_PORT": "0"}, nil, 2, "HTTP_PORT"},
		"a port too high":        {map[string]string{"HTTP_PORT": "65536"}, nil, 2, "HTTP_PORT"},
		"a window in the past":   {nil, []string{"--rollout-restart-window=-1s"}, 2, "controller.rolloutRestart.window"},
		"no restarts":            {nil, []string{"--rollout-restart-max-concurrent=0"}, 2, "controller.rolloutRestart.maxConcurrent"},
		"no workers":             {nil, []string{"--workers=0"}, 2, "--workers"},
		"a window of a day":      {nil, []string{"--rollout-restart-window=24h"}, 2, "controller.rolloutRestart.window"},
		"a warning in the past":  {nil, []string{"--expiry-warning=-1h"}, 2, "controller.expiryWarning"},
		"an unknown log format":  {nil, []string{"--logging-format=xml"}, 1, "use text or json"},
		"no azure.json":          {nil, []string{"--cloudconfig=/no/such/file"}, 1, "keyVaultAuth"},
		"an unknown cloud":       {map[string]string{"AUTH_TYPE": "environment", "AZURE_ENVIRONMENT": "MarsCloud"}, nil, 1, "AzureChinaCloud"},
		"half a credential":      {map[string]string{"AUTH_TYPE": "environment", "AZURE_TENANT_ID": "11111111-1111-4111-8111-111111111111", "AZURE_CLIENT_ID": "c"}, nil, 1, "AZURE_CLIENT_SECRET"},
		"an unknown method":      {map[string]string{"AUTH_TYPE": "magic"}, nil, 1, "azureCloudConfig"},
		"no extra CA":            {environment, []string{"--extra-ca-file=/no/such/file"}, 1, "global.extraCACertificates"},
		"an extra CA that isn't": {environment, []string{"--extra-ca-file=" + azureJSON}, 1, "contain no PEM"},
		"no cluster for CRDs":    {nil, []string{"apply-crds"}, 1, "kubeconfig"},
		"no cluster":             {nil, []string{"--cloudconfig=" + azureJSON, "--kubeconfig=/no/such/file"}, 1, "kubeconfig"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := runWithEnv(t, c.env, append(slices.Clone(c.args), "--kubeconfig=/no/such/file")...)
			assert.Equal(t, c.code, code)
			assert.Contains(t, errs, c.says)
		})
	}
}

// parse reads the flags and environment variables as the program does.
func parse(t *testing.T, env map[string]string, args ...string) (*settings, error) {
	t.Helper()
	s := newSettings(func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	root := newCommand(s)
	var err error
	root.RunE = func(*cobra.Command, []string) error { err = s.checkValues(); return err }
	root.SetOut(io.Discard)
	root.SetErr(io.Discard)
	if program.Run(t.Context(), root, args) != program.ExitOK && err == nil {
		err = errors.New("the flags are not accepted")
	}
	return s, err
}

func TestEverySettingOfV1IsAccepted(t *testing.T) {
	env := map[string]string{"AUTH_TYPE": "environment", "METRICS_ENABLED": "true", "HTTP_PORT": "9100", "OBJECT_LABELS": "app=a,tier in (x,y),!old", "RUNTIME_NAMESPACE": "own"}
	flags := []string{"cloudconfig=/etc/azure.json", "watch-all-namespaces=false", "azure-resync-period=60", "kube-resync-period=45", "logging-format=json",
		"kubeconfig=/k", "master=https://m", "v=debug"}
	for name, args := range map[string]func(flag string) []string{
		"two dashes":            func(flag string) []string { return []string{"--" + flag} },
		"one dash":              func(flag string) []string { return []string{"-" + flag} },
		"two, and a space":      func(flag string) []string { return separated("--", flag) },
		"one dash, and a space": func(flag string) []string { return separated("-", flag) },
	} {
		t.Run(name, func(t *testing.T) {
			var all []string
			for _, flag := range flags {
				all = append(all, args(flag)...)
			}
			s, err := parse(t, env, all...)
			require.NoError(t, err)
			assert.Equal(t, []any{"/etc/azure.json", false, 60, "json", "/k", "https://m", "debug"},
				[]any{s.CloudConfigFile, s.WatchAll, s.resyncSeconds, s.LogFormat, s.Kubeconfig, s.Master, s.LogLevel})
			assert.Equal(t, []any{"environment", true, 9100, "own"}, []any{s.AuthType, s.serveMetrics, s.port, s.Namespace})
			selector, err := labels.Parse(s.objectLabels)
			require.NoError(t, err, "equality and set-based")
			assert.True(t, selector.Matches(labels.Set{"app": "a", "tier": "y"}))
			assert.False(t, selector.Matches(labels.Set{"app": "a", "tier": "y", "old": ""}))
		})
	}
	for _, version := range []string{"--version", "-version"} {
		_, err := parse(t, nil, version)
		assert.NoError(t, err)
	}
}

// separated puts a space between the name and the value of a flag, but for switches, which have their value after =.
func separated(dashes, flag string) []string {
	if name, value, _ := strings.Cut(flag, "="); value != "false" {
		return []string{dashes + name, value}
	}
	return []string{dashes + flag}
}

func TestEverySettingOfOursIsRead(t *testing.T) {
	s, err := parse(t, nil, "--fullname=own", "--extra-ca-file=/ca", "--identities", "--default-identity=team=reader", "--vault-limit=7",
		"--subscription-limit=8", "--readers=9", "--vault-fallback=kv-one=kv-two", `--vault-rules=[]`, "--workers=3", "--expiry-warning=1h",
		"--rollout-restart", "--rollout-restart-window=5s", "--cloud-config=/azure.json", "--log-level=trace", "--log-format=json", "--pprof-address=:6060",
		"--rollout-restart-max-concurrent=3", "--rollout-restart-argo-rollouts", "--watch-injected=true")
	require.NoError(t, err)
	assert.Equal(t, []any{"own", "/ca", true, true, 3, time.Hour, 5 * time.Second},
		[]any{s.fullname, s.ExtraCAFile, s.Identities.AllowServiceAccounts, s.restartWorkloads, s.workers, s.expiryWarning, s.restartWindow})
	assert.Equal(t, []string{"/azure.json", "trace", "json", "localhost:6060"}, []string{s.CloudConfigFile, s.LogLevel, s.LogFormat, s.PprofAddress})
	assert.Equal(t, []any{3, true, true}, []any{s.maxRestarts, s.argoRollouts, s.watchInjected})
	assert.Equal(t, vaultclient.RateLimits{Vault: 7, Subscription: 8, Readers: 9}, s.RateLimits)
	assert.Equal(t, vaultclient.VaultFallbacks{"kv-one": "kv-two"}, s.Fallbacks)
	assert.Equal(t, "reader", s.Identities.IdentityFor("team", "").ServiceAccount)
	s, err = parse(t, nil)
	require.NoError(t, err)
	assert.False(t, s.Identities.AllowServiceAccounts, "nobody reads as somebody else unless the installation says so")
	assert.False(t, s.restartWorkloads)
	assert.Empty(t, s.PprofAddress, "profiles are off")
}
