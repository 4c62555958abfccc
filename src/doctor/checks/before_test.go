package checks_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/crd"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/checks"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/testkit/clustertest"
)

func definition(t *testing.T, schema string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	require.NoError(t, yaml.Unmarshal(crd.YAML(), &u.Object))
	u.SetAnnotations(map[string]string{crd.AnnotationSchema: schema})
	return u
}

func TestEachFaultBeforeAnInstallationIsFoundAndNothingElse(t *testing.T) {
	for name, fault := range map[string]planted{
		"an old API server": {plant: func(_ *testing.T, c *clustertest.Cluster) { c.GitVersion = "v1.28.0" },
			check: "API server answers", what: "v1.28.0", try: "upgrade"},
		"no right to create roles": {plant: func(_ *testing.T, c *clustertest.Cluster) {
			c.Denies = func(verb, resource, _ string) bool { return verb == "create" && resource == "clusterroles" }
		}, check: "create the objects of the chart", what: "create clusterroles.rbac.authorization.k8s.io", try: "examples/namespaced"},
		"a policy that denies the node's file": {plant: func(_ *testing.T, c *clustertest.Cluster) {
			c.Admit = func(*corev1.Pod) error { return errors.New(`violates PodSecurity "baseline:latest": hostPath volumes`) }
		}, check: "allow the pods of akv2k8s", what: "azure.json are denied in namespace akv2k8s", try: "global.keyVaultAuth=environment"},
		"a quota": {plant: func(_ *testing.T, c *clustertest.Cluster) {
			c.Admit = func(*corev1.Pod) error { return errors.New("exceeded quota: pods") }
		}, check: "allow the pods of akv2k8s", what: "ResourceQuota", try: "raise the quota"},
		"a newer definition": {plant: func(t *testing.T, c *clustertest.Cluster) { c.Add(definition(t, "99")) },
			check: "no newer CustomResourceDefinition", what: "schema 99", try: "newer version of the command", severity: doctor.Warning},
		"a webhook that was left": {plant: func(t *testing.T, c *clustertest.Cluster) {
			c.Add(&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "left"}, Webhooks: []admissionv1.MutatingWebhook{
				{Name: "pods.env-injector.admission.spv.no", ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "akv2k8s", Name: "akv2k8s-envinjector"}}}}})
		}, check: "nothing is left", what: "does not exist any more", try: "delete it"},
	} {
		t.Run(name, func(t *testing.T) {
			c := clustertest.Empty(t)
			fault.plant(t, c)
			s := stateOf(t, c, "")
			found := complaints(runChecks(t, s, checks.Before(s)))
			require.Len(t, found, 1, "%+v", found)
			assert.Contains(t, found[0].Check, fault.check)
			assert.Contains(t, found[0].What, fault.what)
			assert.Contains(t, found[0].Try, fault.try)
		})
	}
	c := clustertest.New(t)
	s := stateOf(t, c, "")
	assert.Contains(t, fmt.Sprint(complaints(runChecks(t, s, checks.Before(s)))), "akv2k8s is already installed")
	old := clustertest.Empty(t)
	old.Add(definition(t, ""))
	s = stateOf(t, old, "")
	assert.Contains(t, fmt.Sprint(runChecks(t, s, checks.Before(s))), "of akv2k8s 1.8 exists; the chart updates it")
}

// TestTheRightsToInstallAreThoseOfTheChart denies each kind of object in the chart in turn.
func TestTheRightsToInstallAreThoseOfTheChart(t *testing.T) {
	seen := map[string]bool{}
	for _, object := range clustertest.Render(t, clustertest.Namespace) {
		plural, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
		if seen[plural.Resource] {
			continue
		}
		seen[plural.Resource] = true
		c := clustertest.Empty(t)
		c.Denies = func(verb, resource, _ string) bool { return verb == "create" && resource == plural.Resource }
		s := stateOf(t, c, "")
		assert.Contains(t, fmt.Sprint(complaints(runChecks(t, s, checks.Before(s)))), "create "+plural.Resource, "the chart has %s", object.GetKind())
	}
	assert.Greater(t, len(seen), 8)
}

// TestTheVersionsAreThoseOfTheChartAndTheDocs keeps the supported versions in the code in line with the other places.
func TestTheVersionsAreThoseOfTheChartAndTheDocs(t *testing.T) {
	content, err := os.ReadFile("../../../charts/akv2k8s/Chart.yaml")
	require.NoError(t, err)
	var chart struct{ KubeVersion string }
	require.NoError(t, yaml.Unmarshal(content, &chart))
	support, err := os.ReadFile("../../../docs/support.md")
	require.NoError(t, err)
	c := clustertest.Empty(t)
	oldest := strings.TrimSuffix(strings.TrimPrefix(chart.KubeVersion, ">="), "-0")
	for version, says := range map[string]string{"v" + oldest: "the API server is v" + oldest, "v1.37.9": "the API server is v1.37.9", "v1.38.0": "newer than the tested version 1.37"} {
		c.GitVersion = version
		s := stateOf(t, c, "")
		found := runChecks(t, s, checks.Before(s)[:1])
		assert.Equal(t, doctor.OK, found[0].Severity)
		assert.Contains(t, found[0].What, says)
	}
	assert.Contains(t, string(support), "1.37 with kind")
	assert.NotContains(t, string(support), "1.38")
	c.GitVersion = "unknown"
	s := stateOf(t, c, "")
	assert.Contains(t, runChecks(t, s, checks.Before(s)[:1])[0].What, "can't be read")
}

func TestATenantIsToldWhichRightsAreMissing(t *testing.T) {
	c := clustertest.New(t)
	c.Denies = func(_, _, namespace string) bool { return namespace != clustertest.Team }
	s := stateOf(t, c, clustertest.Team)
	found := runChecks(t, s, checks.Installed(s))
	assert.Empty(t, complaints(found))
	injected := false
	for _, f := range found {
		if f.Severity == doctor.Skipped {
			assert.NotEmpty(t, f.Right, f.Check)
		}
		injected = injected || f.Check == "pods are injected, and no policy denies them" && f.Severity == doctor.OK
	}
	assert.True(t, injected, "what needs no more rights is checked")
	require.Len(t, c.DryRuns, 1)

	clustertest.Find[*corev1.Namespace](t, c, clustertest.Team).Labels = nil
	s = stateOf(t, c, clustertest.Team)
	found = complaints(runChecks(t, s, checks.Installed(s)))
	require.Len(t, found, 1)
	assert.Contains(t, found[0].What, "lacks the label azure-key-vault-env-injection=enabled")
	assert.Equal(t, "kubectl label namespace team azure-key-vault-env-injection=enabled", found[0].Command)
}

func TestAServerThatFailsIsNamed(t *testing.T) {
	found := cluster.ReadFailure(errors.New("etcd is away"), doctor.Right{Verb: "list", Resource: "nodes"})
	assert.Contains(t, found[0].Why, "etcd is away")
	assert.Contains(t, found[0].What, "list nodes")
	assert.Contains(t, cluster.ReadFailure(context.DeadlineExceeded, doctor.Right{})[0].What, "in time")
	assert.Less(t, len(cluster.ShortMessage(strings.Repeat("ä", 1000))), 610)
	limited := cluster.LimitFindings(make([]doctor.Finding, 100))
	assert.Len(t, limited, 20)
	assert.Contains(t, limited[19].What, "81 more")
}
