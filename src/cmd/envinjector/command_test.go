package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/envinjector"
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
	for _, part := range []string{"--cache-max-age", "ca ", "check-ready", "migrate-v1-ca", "trust", "RUNTIME_NAMESPACE", "WEBHOOK_CLIENT_CA"} {
		assert.Contains(t, out, part)
	}
	assert.NotContains(t, out, "inherit", "the old name is accepted, but not shown")
	code, out, _ = runWithEnv(t, nil, "ca", "--help")
	assert.Zero(t, code)
	assert.Contains(t, out, "rotate")
	assert.Contains(t, out, "replace")
}

func TestOldNamesOfFlagsAreAccepted(t *testing.T) {
	for _, args := range [][]string{{"--cloudconfig=/c", "--logging-format=json", "--v=debug"}, {"-cloudconfig=/c", "-logging-format", "json", "-v", "debug"},
		{"--cloud-config=/c", "--log-format=json", "--log-level=debug"}} {
		s := envinjector.NewSettings(func(string) (string, bool) { return "", false })
		root := newCommand(s)
		root.RunE = func(*cobra.Command, []string) error { return nil }
		require.Equal(t, program.ExitOK, program.Run(t.Context(), root, args), args)
		assert.Equal(t, []string{"/c", "json", "debug"}, []string{s.CloudConfigFile, s.LogFormat, s.LogLevel}, args)
	}
}

func TestSettingsThatCannotWorkAreRefusedAtStart(t *testing.T) {
	environment := map[string]string{"AUTH_TYPE": "environment"}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(kubeconfig, []byte("{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], contexts: [{name: c, context: {cluster: c, user: ''}}], current-context: c}"), 0o600))
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		code int
		says string
	}{
		"an unknown flag":                      {nil, []string{"--nonsense"}, 2, "unknown flag: --nonsense; run 'envinjector --help'"},
		"an unknown subcommand":                {nil, []string{"burn"}, 2, `envinjector has no subcommand "burn"; use one of: envinjector ca`},
		"no subcommand of ca":                  {nil, []string{"ca"}, 2, "envinjector ca needs a subcommand; use one of: envinjector ca replace"},
		"rules that are none":                  {nil, []string{"--vault-rules=x"}, 2, "vaultRules"},
		"half of a default":                    {nil, []string{"--default-identity=team"}, 2, "NAMESPACE=SERVICEACCOUNT"},
		"no port":                              {nil, []string{"--auth-port=70000"}, 2, "port 70000 is invalid"},
		"no label":                             {nil, []string{"--namespace-label=enabled"}, 2, "NAME=VALUE"},
		"pods of 1.8 without the auth service": {nil, []string{"--legacy-auth-service", "--auth-service=false"}, 2, "needs --auth-service"},
		"pods of 1.8 beside rules":             {nil, []string{"--legacy-auth-service", `--vault-rules=[{"namespaces":["a"],"vaults":["b"]}]`}, 2, "remove one of them"},
		"an upgrade that ended before":         {nil, []string{"--legacy-auth-service", "--legacy-upgrade-time=-1s"}, 2, "can't be negative"},
		"an unknown log level":                 {nil, []string{"--v=loud"}, 1, "use info"},
		"no azure.json":                        {nil, []string{"--cloudconfig=/no/such/file"}, 1, "keyVaultAuth"},
		"registries of no sort":                {nil, []string{"--registries=x"}, 2, "it is not a JSON object"},
		"an age that is none":                  {nil, []string{`--registries={"tagMaxAge":"x"}`}, 2, "write for example 5m"},
		"a pattern that is none":               {nil, []string{`--registries={"allow":["["]}`}, 2, "not a valid host pattern"},
		"what to do with the CA":               {nil, []string{"ca", "burn"}, 2, "ca rotate"},
		"no certificate":                       {environment, []string{"--webhook-certificates=/no/such/folder", "--kubeconfig=" + kubeconfig}, 1, "env_injector.certificate"},
		"no cluster for the CA":                {nil, []string{"ca", "rotate", "--kubeconfig=/no/such/file"}, 1, "finding the API server"},
		"no migration":                         {nil, []string{"migrate-v1-ca", "--kubeconfig=/no/such/file", "--from=a"}, 1, "envinjector: "},
		"no migration by its old name":         {nil, []string{"inherit", "--kubeconfig=/no/such/file", "--from=a"}, 1, "envinjector: "},
		"no cluster":                           {environment, []string{"--kubeconfig=/no/such/file"}, 1, "finding the API server"},
		"a cache without bound":                {environment, []string{"--kubeconfig=/no/such/file", "--cache-max-age=x"}, 2, "cache-max-age"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := runWithEnv(t, c.env, c.args...)
			assert.Equal(t, c.code, code)
			assert.Contains(t, errs, c.says)
		})
	}
}
