package broker_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// withFiles gives the pod a files container with this record.
func (b *brokerTest) withFiles(record string) {
	b.recreatePod(func(pod *corev1.Pod) {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: wire.FilesContainer,
			Env: []corev1.EnvVar{{Name: wire.EnvFiles, Value: record}}})
	})
}

func (b *brokerTest) requestFiles(etag string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, wire.FilesPath, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("If-None-Match", etag)
	w := httptest.NewRecorder()
	b.broker.ServeHTTP(w, r)
	assert.NotContains(b, b.log.String(), canary)
	return w
}

const twoFiles = `{"directories":{"0":[{"path":"a","from":"one@azurekeyvault","mode":256},{"path":"sub","folder":true,"from":"two@azurekeyvault","mode":420}]}}`

func TestAPodGetsItsFilesAndLearnsWhetherTheyChanged(t *testing.T) {
	b := newBrokerTest(t)
	b.withFiles(twoFiles)
	w := b.requestFiles("")
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	var answer wire.FilesResponse
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	assert.Equal(t, map[string]map[string]wire.FileContent{"0": {"a": {Content: []byte(canary), Mode: 0o400},
		"sub/object-of-two": {Content: []byte(canary), Mode: 0o644}}}, answer.Directories)
	assert.Equal(t, "300", w.Header().Get(wire.HeaderRefreshAfter))
	etag := w.Header().Get("ETag")
	assert.Equal(t, []time.Duration{10 * time.Second, 10 * time.Second}, b.vault.ages, "a starting pod gets recent values")

	b.vault.ages = nil
	w = b.requestFiles(etag)
	assert.Equal(t, http.StatusNotModified, w.Code)
	assert.Empty(t, w.Body.String())
	assert.Equal(t, etag, w.Header().Get("ETag"))
	assert.Equal(t, "300", w.Header().Get(wire.HeaderRefreshAfter))
	assert.Equal(t, []time.Duration{5 * time.Minute, 5 * time.Minute}, b.vault.ages, "pods that ask again share the reads of an interval")
	other := newBrokerTest(t)
	other.withFiles(twoFiles)
	assert.Equal(t, http.StatusNotModified, other.requestFiles(etag).Code, "another replica knows the tag too")

	b.vault.value = "another value"
	w = b.requestFiles(etag)
	assert.Equal(t, http.StatusOK, w.Code)
	assert.NotEqual(t, etag, w.Header().Get("ETag"))
	require.NoError(t, testutil.GatherAndCompare(b.registry, strings.NewReader(
		"# HELP akv2k8s_auth_files_requests_total Answered requests of pods for their files, by whether the files had changed.\n"+
			"# TYPE akv2k8s_auth_files_requests_total counter\n"+
			"akv2k8s_auth_files_requests_total{changed=\"false\"} 1\nakv2k8s_auth_files_requests_total{changed=\"true\"} 2\n"), "akv2k8s_auth_files_requests_total"))
}

func TestAChangeThatTheControllerFoundIsReadAtOnce(t *testing.T) {
	b := newBrokerTest(t)
	b.withFiles(twoFiles)
	etag := b.requestFiles("").Header().Get("ETag")
	for age, want := range map[time.Duration]time.Duration{-time.Hour: 10 * time.Second, time.Second: 10 * time.Second, time.Minute: time.Minute, time.Hour: 5 * time.Minute} {
		now := time.Now().Truncate(time.Second)
		b.broker.Clock = func() time.Time { return now }
		var resource v2beta1.AzureKeyVaultSecret
		require.NoError(t, b.client.Get(t.Context(), client.ObjectKey{Namespace: "team", Name: "two"}, &resource))
		resource.Status.LastAzureUpdate = &metav1.Time{Time: now.Add(-age)}
		require.NoError(t, b.client.Update(t.Context(), &resource))
		b.vault.ages = nil
		require.Equal(t, http.StatusNotModified, b.requestFiles(etag).Code)
		assert.Equal(t, []time.Duration{want, want}, b.vault.ages, age)
	}
}

func TestTwoPodsHaveDifferentTags(t *testing.T) {
	b := newBrokerTest(t)
	b.withFiles(twoFiles)
	assert.NotEqual(t, b.requestFiles("").Header().Get("ETag"), b.requestFiles("").Header().Get("ETag"))
	for _, foreign := range []string{`"x"`, `W/"` + strings.Repeat("A", 64) + `"`, `"` + strings.Repeat("A", 64) + `"`, `"` + strings.Repeat("!", 64) + `"`, "*", strings.Repeat("A", 100_000)} {
		assert.Equal(t, http.StatusOK, b.requestFiles(foreign).Code, "%.70s", foreign)
	}
}

func TestTheRefreshIntervalIsThatOfThePodOrItsResources(t *testing.T) {
	for record, want := range map[string]string{`"refreshSeconds":0,`: "0", `"refreshSeconds":90,`: "90", `"refreshSeconds":1,`: "60", `"refreshSeconds":-5,`: "0",
		`"refreshSeconds":9223372036854775807,`: "86400", ``: "300"} {
		b := newBrokerTest(t)
		b.withFiles(strings.Replace(twoFiles, "{", "{"+record, 1))
		assert.Equal(t, want, b.requestFiles("").Header().Get(wire.HeaderRefreshAfter), record)
	}
}

func TestOnlyTheFilesOfThePodsSpecAreAnswered(t *testing.T) {
	b := newBrokerTest(t)
	b.assertError(b.requestFiles(""), fault.Denied, `pod "app" was not created with files; set the annotation akv2k8s.io/files`)
	for record, says := range map[string]string{
		`{`: "recreate the pod", `{"directories":{"0":[{"path":"a","from":"canary"}]}}`: `file "a": the value is meant as a reference`,
		`{"directories":{"0":[{"path":"a","from":"absent@azurekeyvault"}]}}`: `there is no AzureKeyVaultSecret "absent"`,
		strings.Repeat(" ", limits.FilesRecordBytes+1) + twoFiles:            "was not created with files",
	} {
		b := newBrokerTest(t)
		b.withFiles(record)
		w := b.requestFiles("")
		assert.NotEqual(t, http.StatusOK, w.Code)
		assert.Contains(t, w.Body.String(), strings.ReplaceAll(says, `"`, `\"`))
		assert.NotContains(t, w.Body.String(), "canary")
		assert.Empty(t, b.vault.calls)
	}
	b = newBrokerTest(t)
	b.recreatePod(func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: wire.EnvFiles, Value: twoFiles})
	})
	b.assertError(b.requestFiles(""), fault.Denied, "was not created with files")
	b = newBrokerTest(t)
	b.withFiles(twoFiles)
	b.review.Authenticated = false
	b.assertError(b.requestFiles(""), fault.Unauthenticated, "not valid")
	assert.Empty(t, b.vault.calls)
}

func TestFilesDoNotAllowVariables(t *testing.T) {
	b := newBrokerTest(t)
	b.withFiles(`{"directories":{"0":[{"path":"a","from":"three@azurekeyvault"}]}}`)
	b.assertError(b.sendReferences(map[string]string{"X": "three@azurekeyvault"}), fault.Denied, "was not created with this reference")
}

func TestAPodKeepsItsFilesWhileTheVaultIsAway(t *testing.T) {
	b := newBrokerTest(t)
	b.withFiles(twoFiles)
	b.vault.value = "last known"
	etag := b.requestFiles("").Header().Get("ETag")
	b.vault.next, b.vault.last = fault.New(fault.Unavailable, "away"), true
	assert.Equal(t, http.StatusNotModified, b.requestFiles(etag).Code)
	assert.Contains(t, b.log.String(), "away", "a stale value is told")
	b.vault.last = false
	b.assertError(b.requestFiles(etag), fault.Unavailable, "away")
}
