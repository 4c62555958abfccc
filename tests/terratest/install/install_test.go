package install

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gruntwork-io/terratest/modules/helm"
	"github.com/gruntwork-io/terratest/modules/k8s"
	"github.com/gruntwork-io/terratest/modules/logger"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	root       = "../../.."
	chart      = root + "/charts/akv2k8s"
	v1Testdata = root + "/tests/long/upgrade/testdata"
	release    = "akv2k8s"
	team       = "terratest"

	attempts = 60
	interval = time.Second
)

// setting is a variable that the suite sets.
func setting(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	require.NotEmpty(t, value, "%s is not set; make long SUITE=packaging sets it", name)
	return value
}

// in are the options of kubectl for a namespace.
func in(namespace string) *k8s.KubectlOptions {
	o := k8s.NewKubectlOptions("", os.Getenv("KUBECONFIG"), namespace)
	o.Logger = logger.Discard // a Secret's content is asked for
	return o
}

func options(files ...string) *helm.Options {
	wait := []string{"--wait", "--timeout", "3m"}
	return &helm.Options{KubectlOptions: k8s.NewKubectlOptions("", os.Getenv("KUBECONFIG"), release), ValuesFiles: files,
		ExtraArgs: map[string][]string{"install": append(wait, "--create-namespace"), "upgrade": wait, "rollback": wait}}
}

// helmFour says whether Helm 4 runs, whose rollback has to be told that it may take fields back that others own.
func helmFour(t *testing.T) bool {
	t.Helper()
	version, err := helm.RunHelmCommandAndGetOutputContextE(t, t.Context(), &helm.Options{}, "version", "--short")
	require.NoError(t, err)
	return strings.Contains(version, "v4.")
}

// TestUpgradeFromV1 goes through the life of an installation: 1.8, the upgrade, a rollback, the upgrade again, and
// its end.
func TestUpgradeFromV1(t *testing.T) {
	values := []string{v1Testdata + "/values.yaml", setting(t, "VALUES")}
	vault, wanted := setting(t, "VAULT"), setting(t, "WANTED")
	before := options(v1Testdata + "/values.yaml")
	helm.InstallContext(t, t.Context(), before, v1Testdata+"/akv2k8s", release)
	upgrade(t, values)
	first := injectedPod(t, vault, wanted, "first")

	back := options()
	if helmFour(t) {
		back.ExtraArgs["rollback"] = append(back.ExtraArgs["rollback"], "--force-conflicts")
	}
	helm.RollbackContext(t, t.Context(), back, release, "1")
	available(t)
	k8s.RunKubectlContext(t, t.Context(), in(team), "get", "pod", first)

	upgrade(t, values)
	injectedPod(t, vault, wanted, "second")
	k8s.RunKubectlContext(t, t.Context(), in(team), "delete", "pods", "--all", "--now")
	end(t)
}

// upgrade installs the chart over what is there, and lets helm test ask both components.
func upgrade(t *testing.T, values []string) {
	t.Helper()
	helm.UpgradeContext(t, t.Context(), options(values...), chart, release)
	available(t)
	out, err := helm.RunHelmCommandAndGetOutputContextE(t, t.Context(), options(), "test", release, "--logs")
	require.NoError(t, err, out)
	assert.Equal(t, 2, strings.Count(out, "ready: http://"), out)
}

// available waits for both components.
func available(t *testing.T) {
	t.Helper()
	for _, name := range []string{"akv2k8s-controller", "akv2k8s-envinjector"} {
		k8s.WaitUntilDeploymentAvailableContext(t, t.Context(), in(release), name, attempts, interval)
	}
}

// injectedPod makes a resource with an output and a pod that refers to it, and waits until both have the value.
func injectedPod(t *testing.T, vault, wanted, name string) string {
	t.Helper()
	manifest := fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s, labels: {azure-key-vault-env-injection: enabled}}
---
apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  vault: {name: %[3]s, object: {name: db, type: secret}}
  output: {secret: {name: %[2]s, dataKey: password}}
`, team, name, vault)
	k8s.KubectlApplyFromStringContext(t, t.Context(), in(team), manifest)
	awaitOutput(t, "of the Secret", base64.StdEncoding.EncodeToString([]byte(wanted)), "get", "secret", name,
		"--output", "jsonpath={.data.password}")
	pod := fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  containers:
    - name: app
      image: busybox:1.37
      command: [sh, -c, 'test "$DB" = "%[3]s" && echo the value is right; exec sleep 3600']
      env: [{name: DB, value: %[2]s@azurekeyvault}]
`, team, name, wanted)
	k8s.KubectlApplyFromStringContext(t, t.Context(), in(team), pod)
	awaitOutput(t, "of the pod", "the value is right", "logs", name, "--container", "app")
	return name
}

// awaitOutput asks kubectl until it prints what is wanted.
func awaitOutput(t *testing.T, what, wanted string, args ...string) {
	t.Helper()
	var printed string
	require.Eventually(t, func() bool {
		printed, _ = k8s.RunKubectlAndGetOutputContextE(t, t.Context(), in(team), args...)
		return strings.Contains(printed, wanted) // the injector logs to the same place
	}, attempts*interval, interval, "the value %s", what)
}

// end uninstalls, and wants Secrets and resources to stay.
func end(t *testing.T) {
	t.Helper()
	helm.DeleteContext(t, t.Context(), options(), release, true)
	out, err := k8s.RunKubectlAndGetOutputContextE(t, t.Context(), in(release), "get", "deployments", "--output", "name")
	require.NoError(t, err)
	assert.Empty(t, strings.TrimSpace(strings.ReplaceAll(out, "No resources found in akv2k8s namespace.", "")))
	k8s.RunKubectlContext(t, t.Context(), in(team), "get", "secret", "first", "second")
	k8s.RunKubectlContext(t, t.Context(), in(team), "get", "azurekeyvaultsecret", "first", "second")
	for _, namespace := range []string{team, release} {
		k8s.RunKubectlContext(t, t.Context(), in(""), "delete", "namespace", namespace)
	}
	k8s.RunKubectlContext(t, t.Context(), in(""), "delete", "crd", "azurekeyvaultsecrets.spv.no")
}
