package cli_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/cli"
)

const someResources = `apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: db, namespace: team, labels: {app: shop}, generation: 1}
spec:
  vault: {name: shop-vault, object: {name: db-password, type: secret}}
  output: {secret: {name: db, dataKey: password}}
  futureField: kept
status:
  vaultVersion: 0123456789abcdef0123456789abcdef
  expires: "2027-03-01T12:00:00Z"
  secretName: db
  conditions: [{type: Ready, status: "True", reason: Synced, message: 'Secret "db" holds version 0', lastTransitionTime: "2026-01-02T03:04:05Z"}]
---
apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: api, namespace: team, generation: 2}
spec:
  vault: {name: shop-vault, object: {name: api-key, type: secret}}
status:
  conditions: [{type: Ready, status: "False", reason: AccessDenied, message: the vault denied it, observedGeneration: 2, lastTransitionTime: "2026-01-02T03:04:05Z"}]
---
apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: all, namespace: other}
spec:
  vault: {name: other-vault}
  data: [{object: {name: a, type: secret}, dataKey: a}, {object: {name: b, type: secret}, dataKey: b}]
  output: {secret: {name: all}, configMap: {name: all}}`

// with adds the flags for the server to arguments.
func (s *apiServer) with(args ...string) []string { return append(args, "--kubeconfig", s.kubeconfig) }

// columnsOf returns the lines of a table, with one space between columns.
func columnsOf(table string) []string {
	var all []string
	for line := range strings.Lines(table) {
		all = append(all, strings.Join(strings.Fields(line), " "))
	}
	return all
}

func TestGetListsResources(t *testing.T) {
	s := newAPIServer(t, objectsOf(t, someResources)...)
	code, stdout, stderr := run(t, "", s.with("get")...)
	require.Equal(t, cli.ExitOK, code, stderr)
	assert.Equal(t, []string{"NAME VAULT OBJECT READY VERSION EXPIRES AGE",
		"api shop-vault api-key AccessDenied <unknown>",
		"db shop-vault db-password True 0123456789ab 2027-03-01 <unknown>"}, columnsOf(stdout))

	_, stdout, _ = run(t, "", s.with("get", "-A", "-o", "wide")...)
	assert.Contains(t, columnsOf(stdout)[0], "NAMESPACE NAME VAULT OBJECT READY VERSION EXPIRES AGE TYPE OUTPUTS MESSAGE")
	assert.Contains(t, columnsOf(stdout), "other all other-vault 2 objects Unknown <unknown> several secret/all,configmap/all "+
		"the controller has not read it yet")

	_, stdout, _ = run(t, "", s.with("get", "-l", "app=shop", "-o", "name")...)
	assert.Equal(t, "azurekeyvaultsecret.spv.no/db\n", stdout)
	_, stdout, _ = run(t, "", s.with("get", "db", "-o", "yaml")...)
	assert.Contains(t, stdout, "futureField: kept", "fields that this version does not know stay")
	assert.NotContains(t, stdout, "kind: AzureKeyVaultSecretList")
	_, stdout, _ = run(t, "", s.with("get", "-o", "jsonpath={.items[*].metadata.name}")...)
	assert.Equal(t, "api db", stdout)
	_, stdout, _ = run(t, "", s.with("get", "db", "api", "-o", "json")...)
	assert.Contains(t, stdout, `"kind": "AzureKeyVaultSecretList"`)

	_, stdout, stderr = run(t, "", s.with("get", "-n", "empty")...)
	assert.Empty(t, stdout)
	assert.Equal(t, "No AzureKeyVaultSecrets found in namespace empty.\n", stderr)
}

func TestGetReadsPages(t *testing.T) {
	var stream []string
	for i := range 1201 {
		stream = append(stream, fmt.Sprintf("apiVersion: spv.no/v2beta1\nkind: AzureKeyVaultSecret\nmetadata: {namespace: team, name: r%04d}", i))
	}
	s := newAPIServer(t, objectsOf(t, strings.Join(stream, "\n---\n"))...)
	_, stdout, _ := run(t, "", s.with("get", "-o", "name")...)
	assert.Equal(t, 1201, strings.Count(stdout, "\n"))
	assert.Len(t, s.seen(), 3)
}

func TestGetExplainsFailures(t *testing.T) {
	s := newAPIServer(t)
	for want, args := range map[string][]string{
		`there is no AzureKeyVaultSecret "none" in namespace "team"; list them`: {"get", "none"},
	} {
		code, _, stderr := run(t, "", s.with(args...)...)
		assert.Equal(t, cli.ExitFailure, code)
		assert.Contains(t, stderr, want)
	}
	for want, args := range map[string][]string{
		`--output "table" is not known`: {"get", "-o", "table"},
		"not both":                      {"get", "db", "-A"},
		"name at most one":              {"get", "a", "b", "-w"},
		"--selector: ":                  {"get", "-l", "a=(b"},
		"or 'kubectl get azurekeyvaultsecrets' for other formats": {"get", "-o", "go-template={{"},
		"--output: error parsing jsonpath":                        {"get", "-o", "jsonpath={"},
		"unknown flag: --x; run 'kubectl akv2k8s get":             {"get", "--x"},
	} {
		code, _, stderr := run(t, "", s.with(args...)...)
		assert.Equal(t, cli.ExitUsage, code, args)
		assert.Contains(t, stderr, want)
	}
	s.forbidden = []string{"azurekeyvaultsecrets"}
	_, _, stderr := run(t, "", s.with("get")...)
	assert.Contains(t, stderr, "ask for a Role that allows it")
	s.missing = []string{"azurekeyvaultsecrets"}
	_, _, stderr = run(t, "", s.with("get")...)
	assert.Contains(t, stderr, "the cluster does not have AzureKeyVaultSecret.spv.no; check that the context is the right one")
}

func TestGetFollowsChanges(t *testing.T) {
	s := newAPIServer(t, objectsOf(t, someResources)...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, done := &output{}, make(chan int, 1)
	go func() {
		done <- cli.Run(ctx, s.with("get", "db", "--watch"), genericiooptions.IOStreams{Out: out, ErrOut: out})
	}()
	out.has(t, "0123456789ab")
	require.Eventually(t, func() bool { return len(s.seen()) > 1 }, 10*time.Second, 10*time.Millisecond)
	time.Sleep(200 * time.Millisecond) // the fake client watches from now on
	s.change(t, "api", func(r *v2beta1.AzureKeyVaultSecret) { r.Status.VaultVersion = "of another" })
	s.change(t, "db", func(r *v2beta1.AzureKeyVaultSecret) {
		r.Status.Conditions[0].Status, r.Status.Conditions[0].Reason = metav1.ConditionFalse, "ObjectNotFound"
	})
	out.has(t, "ObjectNotFound")
	cancel()
	assert.Equal(t, cli.ExitOK, <-done)
	assert.Equal(t, 1, strings.Count(out.String(), "NAME"))
	assert.NotContains(t, out.String(), "api-key")
}

func TestNamesAreCompleted(t *testing.T) {
	s := newAPIServer(t, objectsOf(t, someResources)...)
	_, stdout, _ := run(t, "", "__complete", "get", "--kubeconfig", s.kubeconfig, "d")
	assert.Equal(t, "db\n:4\n", stdout)
	_, stdout, _ = run(t, "", "__complete", "get", "--kubeconfig", s.kubeconfig, "-n", "other", "")
	assert.Equal(t, "all\n:4\n", stdout)
	_, stdout, _ = run(t, "", "__complete", "get", "--kubeconfig", s.kubeconfig, "--context", "")
	assert.Equal(t, "test\n:4\n", stdout)
	s.forbidden = []string{"azurekeyvaultsecrets"}
	_, stdout, _ = run(t, "", "__complete", "get", "--kubeconfig", s.kubeconfig, "")
	assert.Equal(t, ":4\n", stdout)
}
