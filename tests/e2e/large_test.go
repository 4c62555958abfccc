//go:build cluster

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// variables are that many of one value.
func variables(count int, prefix, value string) []corev1.EnvVar {
	env := make([]corev1.EnvVar, count)
	for i := range env {
		env[i] = corev1.EnvVar{Name: fmt.Sprintf("%s%d", prefix, i), Value: value}
	}
	return env
}

// manyVariables are 10,000 of them in an environment of more than a mebibyte, with values of the vault's greatest size,
// and what is too much.
func manyVariables(t *testing.T) {
	tm := newTeam(t)
	large := strings.Repeat("ü\n", 25_000/3) // almost 25,000 bytes, the most that a vault holds
	tm.secret("large", large)
	tm.resource("large", "large", "")
	tm.resource("db", "db", "")
	with := func(name string, env ...[]corev1.EnvVar) *corev1.Pod {
		p := tm.pod(name, nil, "sh", "-c", `echo "$(busybox wc -c </proc/1/environ) $(tr '\0' '\n' </proc/1/environ | grep -c '^[PRL][0-9]*=') $(echo "$L19" | busybox wc -c) ${#R979}"`)
		for _, some := range env {
			p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, some...)
		}
		return p
	}
	text := strings.Repeat("x", 70)
	p := with("many", variables(9000, "P", text), variables(980, "R", "db@azurekeyvault"), variables(20, "L", "large@azurekeyvault"))
	started := time.Now()
	tm.create(p)
	t.Logf("a pod of 10,000 variables was admitted in %s", time.Since(started).Round(time.Millisecond))
	code, log := tm.ended("many")
	require.Zero(t, code, log)
	seen := strings.Fields(log)
	require.Len(t, seen, 4, log)
	bytes, err := strconv.Atoi(seen[0])
	require.NoError(t, err)
	assert.Greater(t, bytes, 1<<20)
	assert.Equal(t, []string{"10000", fmt.Sprint(len(large) + 1), fmt.Sprint(len(canary + "-db"))}, seen[1:])

	// The API server looks through all variables of a pod before it asks us, and has a bound of its own for that.
	require.NoError(t, s.Client.Create(t.Context(), with("plain", variables(10_000, "P", text)), client.DryRunAll))

	tm.create(with("too-much", variables(100, "L", "large@azurekeyvault")))
	code, log = tm.ended("too-much")
	assert.EqualValues(t, 126, code, log)
	assert.Contains(t, log, "and Linux allows at most a quarter of the stack limit")

	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: "settings"}, Data: map[string]string{}}
	for _, v := range variables(5000, "FROM_SETTINGS_", "large@azurekeyvault") {
		settings.Data[v.Name] = v.Value
	}
	require.NoError(t, s.Client.Create(t.Context(), settings))
	sourced := with("sourced", variables(1, "R", "db@azurekeyvault"))
	sourced.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}}
	assert.ErrorContains(t, s.Client.Create(t.Context(), sourced), "ENV_INJECTOR_REFERENCES, which the env-injector adds, would be longer than 128 KiB, the limit of Linux for one variable")
}
