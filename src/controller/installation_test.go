package controller_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller"
)

// installations has two controllers on one API server.
type installations struct {
	*bench
	byName map[string]*controller.Controller
}

func newInstallations(t *testing.T) installations {
	t.Helper()
	i := installations{newBench(t, resource("db")), map[string]*controller.Controller{}}
	i.start("one/akv2k8s")
	i.start("two/akv2k8s")
	return i
}

// start starts a process of the installation, without memory.
func (i installations) start(name string) {
	config := i.controller.Config
	config.Installation = name
	c, err := controller.New(config)
	require.NoError(i, err)
	i.byName[name] = c
}

// sync lets the installation refresh the resource, as after each interval.
func (i installations) sync(name string) v2beta1.AzureKeyVaultSecretStatus {
	i.now = i.now.Add(time.Minute)
	_, err := i.byName[name].Reconcile(i.Context(), requestForDB())
	require.NoError(i, err)
	return i.status("db")
}

func contested(status v2beta1.AzureKeyVaultSecretStatus) *metav1.Condition {
	return meta.FindStatusCondition(status.Conditions, v2beta1.ConditionContested)
}

func (i installations) live() *v2beta1.AzureKeyVaultSecret {
	var r v2beta1.AzureKeyVaultSecret
	require.NoError(i, i.client.Get(i.Context(), requestForDB().NamespacedName, &r))
	return &r
}

func requestForDB() ctrl.Request {
	return ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "db"}}
}

func contestedGauge(t *testing.T, c *controller.Controller) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(c))
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == "akv2k8s_resources_contested" {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Error("the gauge akv2k8s_resources_contested is missing")
	return 0
}

func TestTwoInstallationsOnOneResourceAreTold(t *testing.T) {
	i := newInstallations(t)
	assert.Equal(t, "one/akv2k8s", i.sync("one/akv2k8s").SyncedBy)
	assert.Nil(t, contested(i.sync("one/akv2k8s")), "one alone")
	status := i.sync("two/akv2k8s")
	assert.Equal(t, "two/akv2k8s", status.SyncedBy)
	assert.Nil(t, contested(status), "the other may have been uninstalled")

	status = i.sync("one/akv2k8s")
	found := contested(status)
	require.NotNil(t, found, "the other wrote while this one runs")
	assert.Equal(t, metav1.ConditionTrue, found.Status)
	assert.Contains(t, found.Message, `"one/akv2k8s" and "two/akv2k8s" both sync this resource`)
	assert.Contains(t, found.Message, "controller.env.OBJECT_LABELS")
	assert.Contains(t, i.events.events, "Warning SeveralInstallations "+found.Message)
	assert.InDelta(t, 1, contestedGauge(t, i.byName["one/akv2k8s"]), 0)
	assert.True(t, meta.IsStatusConditionTrue(status.Conditions, v2beta1.ConditionReady), "the output is in sync")

	t.Run("without writing in turns", func(t *testing.T) {
		told, written := len(i.events.events), 0
		before := i.live().ResourceVersion
		for range 60 { // two hours
			i.sync("one/akv2k8s")
			i.sync("two/akv2k8s")
			if after := i.live().ResourceVersion; after != before {
				before, written = after, written+1
			}
			require.NotNil(t, contested(i.status("db")))
		}
		assert.Len(t, i.events.events, told)
		assert.LessOrEqual(t, written, 10)
		assert.GreaterOrEqual(t, written, 4, "each shows now and then that it is there")
	})
	t.Run("and the condition goes with one of them", func(t *testing.T) {
		for range 130 {
			status = i.sync("two/akv2k8s")
		}
		assert.Nil(t, contested(status))
		assert.Equal(t, "two/akv2k8s", status.SyncedBy)
	})
}

func TestAnInstallationThatTakesOverSaysNothing(t *testing.T) {
	i := newInstallations(t)
	i.sync("one/akv2k8s")
	for range 200 {
		assert.Nil(t, contested(i.sync("two/akv2k8s")))
	}
	assert.NotContains(t, i.events.events, "SeveralInstallations")
	i.start("two/akv2k8s")
	assert.Nil(t, contested(i.sync("two/akv2k8s")), "another replica of the same")
}

func TestAStatusThatCouldNotBeWrittenIsNoClaim(t *testing.T) {
	i := newInstallations(t)
	i.sync("one/akv2k8s")
	i.refuseStatus = errors.New("the API server is away")
	i.now = i.now.Add(time.Minute)
	_, err := i.byName["two/akv2k8s"].Reconcile(t.Context(), requestForDB())
	require.Error(t, err)
	i.refuseStatus = nil
	assert.Nil(t, contested(i.sync("two/akv2k8s")), "the name in the status was older than this process's")
}

func TestAnotherInstallationIsNotSeenInAnOldCache(t *testing.T) {
	i := newInstallations(t)
	i.sync("one/akv2k8s")
	i.sync("two/akv2k8s")
	old := i.live()
	old.Status.SyncedBy = "one/akv2k8s"
	require.NoError(t, i.client.Status().Update(t.Context(), old))
	i.byName["two/akv2k8s"].OnObjectChanged(i.vault.calls[0])
	i.now = i.now.Add(time.Second)
	_, err := i.byName["two/akv2k8s"].Reconcile(t.Context(), requestForDB())
	require.NoError(t, err)
	assert.Nil(t, contested(i.status("db")))
	assert.Equal(t, "two/akv2k8s", i.status("db").SyncedBy)
}

func TestALookThatChangesNoStatusIsAClaimToo(t *testing.T) {
	i := newInstallations(t)
	i.sync("one/akv2k8s")
	i.start("one/akv2k8s")
	before := i.live().ResourceVersion
	i.sync("one/akv2k8s")
	require.Equal(t, before, i.live().ResourceVersion)
	i.sync("two/akv2k8s")
	assert.NotNil(t, contested(i.sync("one/akv2k8s")), "the other wrote after this process had looked")
}

func TestAStatusThatNamesNobodyIsNotContested(t *testing.T) {
	i := newInstallations(t)
	i.sync("one/akv2k8s")
	cleared := i.live()
	cleared.Status.SyncedBy = ""
	require.NoError(t, i.client.Status().Update(t.Context(), cleared))
	status := i.sync("one/akv2k8s")
	assert.Nil(t, contested(status))
	assert.Equal(t, "one/akv2k8s", status.SyncedBy)
}

func TestAContestedResourceThatGoesIsNotCounted(t *testing.T) {
	i := newInstallations(t)
	i.byName["one/akv2k8s"].SetFailureEventLimit(0)
	i.sync("one/akv2k8s")
	i.sync("two/akv2k8s")
	require.NotNil(t, contested(i.sync("one/akv2k8s")))
	assert.NotContains(t, fmt.Sprint(i.events.events), "SeveralInstallations", "events about failures are bounded")
	require.NoError(t, i.client.Delete(t.Context(), i.live()))
	_, err := i.byName["one/akv2k8s"].Reconcile(t.Context(), requestForDB())
	require.NoError(t, err)
	assert.Zero(t, contestedGauge(t, i.byName["one/akv2k8s"]))
}
