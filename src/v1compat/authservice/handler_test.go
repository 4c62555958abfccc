package authservice_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/akv2k8s/akv2k8s/src/v1compat/authservice"
)

// eventRecorder keeps events as text.
type eventRecorder struct {
	mu     sync.Mutex
	events []string
}

func (r *eventRecorder) Eventf(regarding, _ runtime.Object, kind, reason, _, note string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, regarding.(*corev1.Pod).Name+" "+kind+" "+reason+" "+fmt.Sprintf(note, args...))
}

func TestPodsOfV1AreToldToBeRecreated(t *testing.T) {
	pod := func(name string, volumes ...string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, UID: types.UID("uid-of-" + name)}}
		for _, v := range volumes {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: v})
		}
		return p
	}
	events, registry := &eventRecorder{}, prometheus.NewRegistry()
	h, err := authservice.New(authservice.Config{Live: fake.NewClientBuilder().WithObjects(pod("old", "akv2k8s-client-cert"), pod("other", "data")).Build(), Events: events, Registry: registry})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle(authservice.RoutePattern, h)
	ask := func(path string) string {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		assert.Equal(t, http.StatusGone, w.Code, path)
		return w.Body.String()
	}
	foreign := ask("/auth/team/other")
	assert.Empty(t, events.events, "only pods of akv2k8s 1.8 get the event")
	same := ask("/auth/team/old?secret=akv2k8s-app")
	assert.Equal(t, foreign, same)
	assert.Contains(t, same, "recreate the pod")
	for range 200 { // more than are looked for
		assert.Equal(t, same, ask("/auth/team/old"))
	}
	for _, path := range []string{"/auth/team/other", "/auth/team/gone", "/auth/elsewhere/old"} {
		assert.Equal(t, same, ask(path), "the answer does not tell what exists")
	}
	require.Len(t, events.events, 1, "once, however often it asks")
	assert.True(t, strings.HasPrefix(events.events[0], "old Warning RecreatePod this pod was injected by akv2k8s 1.8"), events.events[0])
	assert.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader("# HELP akv2k8s_legacy_pods Pods of akv2k8s 1.8 that called the auth service since this replica started. "+
		"Recreate them.\n# TYPE akv2k8s_legacy_pods gauge\nakv2k8s_legacy_pods 1\n")))
	whole := authservice.Config{Live: fake.NewClientBuilder().Build(), Events: events, Registry: prometheus.NewRegistry()}
	for name, without := range map[string]func(*authservice.Config){
		"live": func(c *authservice.Config) { c.Live = nil }, "events": func(c *authservice.Config) { c.Events = nil }, "registry": func(c *authservice.Config) { c.Registry = nil },
	} {
		c := whole
		without(&c)
		_, err = authservice.New(c)
		assert.ErrorContains(t, err, "authservice.New: missing or invalid: ", name)
	}
}
