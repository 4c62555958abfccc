package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/cli"
)

const webhookConfiguration = `
---
apiVersion: v1
kind: Namespace
metadata: {name: team, labels: {azure-key-vault-env-injection: enabled}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: akv2k8s-envinjector}
webhooks:
- name: pods.env-injector.admission.spv.no
  namespaceSelector: {matchLabels: {azure-key-vault-env-injection: enabled}}
---
apiVersion: v1
kind: Secret
metadata: {name: db, namespace: team}
data: {password: c2VjcmV0LWNhbmFyeQ==, token: c2VjcmV0LWNhbmFyeQ==}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: team}
data: {text: config-canary}`

// jobManifest has a variable of a Secret, one of a ConfigMap and a literal one.
const jobManifest = `apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, command: [/app, --key=arg-canary], envFrom: [{configMapRef: {name: config}}],
  env: [{name: DB, value: db@azurekeyvault}, {name: S, valueFrom: {secretKeyRef: {name: db, key: token}}}, {name: P, value: literal-canary}]}]}}}`

func TestExplainPrintsTextAndObjects(t *testing.T) {
	s := newAPIServer(t, objectsOf(t, someResources+"\n---\n"+somePods+webhookConfiguration)...)
	for want, args := range map[string][]string{
		"Pod team/app\n": {"pod/app"}, "Pod team/plain\n": {"pods", "plain"}, "AzureKeyVaultSecret team/db\n": {"akvs/db"},
		"AzureKeyVaultSecret other/all\n":  {"azurekeyvaultsecret/all", "-n", "other"},
		`"reference": "db@azurekeyvault",`: {"pod/app", "-o", "json"}, "vault: shop-vault\n": {"akvs/db", "-o", "yaml"},
		"Job team/job\n": {"-f", "-"},
	} {
		code, stdout, stderr := run(t, jobManifest, s.with(slices.Concat([]string{"explain"}, args)...)...)
		assert.Equal(t, cli.ExitOK, code, stderr)
		assert.Contains(t, stdout, want)
	}
	folder := t.TempDir()
	for _, name := range []string{"a.yaml", "b.yaml"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(jobManifest), 0o600))
	}
	_, stdout, _ := run(t, "", s.with("explain", "-f", folder)...)
	assert.Equal(t, 2, strings.Count(stdout, "Job team/job\n"))
	_, stdout, _ = run(t, "", s.with("explain", "-f", folder, "-o", "yaml")...)
	assert.Equal(t, 2, strings.Count(stdout, "kind: Job\n"))
}

func TestExplainRejectsWrongUse(t *testing.T) {
	s := newAPIServer(t, objectsOf(t, someResources+"\n---\n"+somePods)...)
	for want, args := range map[string][]string{
		"name one of pod/NAME, akvs/NAME and --filename":                       {},
		"name one of pod/NAME":                                                 {"pod/app", "-f", "x"},
		`"svc/x" is not pod/NAME or akvs/NAME; for a workload, write 'kubectl`: {"svc/x"},
		`"pod/" has no name; write pod/NAME`:                                   {"pod/"},
		`"pod/a/b" has no name`:                                                {"pod", "a", "b"},
		`--output "wide" is not known; use json or yaml`:                       {"pod/app", "-o", "wide"},
	} {
		code, _, stderr := run(t, "", s.with(slices.Concat([]string{"explain"}, args)...)...)
		assert.Equal(t, cli.ExitUsage, code)
		assert.Contains(t, stderr, want)
	}
	for want, args := range map[string][]string{
		`there is no pod "none" in namespace "team"`:                                         {"pod/none"},
		`there is no AzureKeyVaultSecret "none" in namespace "team"; list them`:              {"akvs/none"},
		"standard input: document 1 is neither YAML nor JSON of an object; correct the file": {"-f", "-"},
		"no such file": {"-f", "/none"},
	} {
		code, _, stderr := run(t, "[canary", s.with(slices.Concat([]string{"explain"}, args)...)...)
		assert.Equal(t, cli.ExitFailure, code)
		assert.Contains(t, stderr, want)
		assert.NotContains(t, stderr, "canary")
	}
	for typed, want := range map[string]string{"": "akvs/\npod/\n:6\n", "pod/a": "pod/app\n:4\n", "akvs/d": "akvs/db\n:4\n", "x": ":6\n"} {
		_, stdout, _ := run(t, "", "__complete", "explain", "--kubeconfig", s.kubeconfig, typed)
		assert.Equal(t, want, stdout)
	}
}

// TestNoCommandPrintsAValue has canaries in Secrets, ConfigMaps, environments and arguments.
func TestNoCommandPrintsAValue(t *testing.T) {
	s := newAPIServer(t, objectsOf(t, someResources+"\n---\n"+somePods+webhookConfiguration)...)
	for _, args := range [][]string{
		{"get", "-A", "-o", "wide"}, {"get", "-o", "yaml"}, {"get", "-o", "json"}, {"refresh", "db", "--wait=false"},
		{"explain", "akvs/db"}, {"explain", "akvs/db", "-o", "json"}, {"explain", "pod/app"}, {"explain", "pod/app", "-o", "yaml"},
		{"explain", "pod/plain", "--read-secrets"}, {"explain", "-f", "-", "--read-secrets"}, {"explain", "-f", "-", "--read-secrets", "-o", "json"},
		{"exec", "plain", "--", "true"}, {"exec", "app", "-c", "none", "--", "true"},
	} {
		at := slices.Index(args, "--")
		if at < 0 {
			at = len(args)
		}
		_, stdout, stderr := run(t, jobManifest, slices.Insert(slices.Clone(args), at, "--kubeconfig", s.kubeconfig)...)
		require.NotEmpty(t, stdout+stderr)
		for _, form := range []string{"canary", "c2VjcmV0LWNhbmFyeQ"} {
			assert.NotContains(t, stdout+stderr, form, args)
		}
	}
	assert.Contains(t, s.seen(), "GET /api/v1/namespaces/team/secrets/db", "--read-secrets reads it")
}
