package legacy

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/fairshare"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Pattern is where the predecessor's wrapper asks: first over plain HTTP, then over TLS.
const Pattern = "GET /auth/{namespace}/{pod}"

// volume is what the predecessor gave every pod that it injected.
const volume = "akv2k8s-client-cert"

// What is told about such pods.
const (
	advice = "this pod was injected by an older version of akv2k8s, whose way to ask is no longer served; recreate " +
		"the pod: kubectl rollout restart its workload"
	served = "this pod was injected by an older version of akv2k8s and is served for the transition alone, with a " +
		"token for every vault of the installation; recreate the pod: kubectl rollout restart its workload"
)

// Config is what a Handler works with; every field but Transition is required.
type Config struct {
	// Live reads pods, and for a transition Secrets and namespaces.
	Live client.Reader
	// Events takes what is told about them.
	Events events.EventRecorder
	// Registry takes the metrics.
	Registry prometheus.Registerer
	Log      logr.Logger
	// Transition serves the predecessor's protocol; nil means that it is not served.
	Transition *Transition
}

// Handler is an http.Handler for Pattern over plain HTTP.
type Handler struct {
	Config
	shares shares
	// told are the pods, by uid, that were found to be the predecessor's.
	told *lru.Cache
	pods prometheus.Gauge
	// transition is nil if there is none.
	transition *transition
}

// New checks the configuration and registers the metrics.
func New(c Config) (*Handler, error) {
	if c.Live == nil || c.Events == nil || c.Registry == nil {
		return nil, errors.New("creating the answer to older pods: a part of its configuration is missing")
	}
	h := &Handler{Config: c, shares: newShares(), told: lru.New(limits.LegacyPods),
		pods: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "akv2k8s_legacy_pods",
			Help: "Pods that an older version injected and that asked since this replica started; they have to be " +
				"recreated."})}
	if err := c.Registry.Register(h.pods); err != nil {
		return nil, err
	}
	var err error
	if c.Transition != nil {
		h.transition, err = newTransition(h)
	}
	return h, err
}

// ServeHTTP implements http.Handler. Without a transition the answer is the same for every pod, so it tells nobody what
// exists.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.transition != nil {
		h.transition.validate(w, r)
		return
	}
	name, err := nameOf(r)
	from := fairshare.Address(r.RemoteAddr)
	if err == nil && h.shares.lookups.Allow(from) && h.shares.atOnce.TryAcquire(from, 1) {
		defer h.shares.atOnce.Release(from, 1)
		ctx, cancel := context.WithTimeout(r.Context(), limits.LegacyTime)
		defer cancel()
		h.look(ctx, name)
	}
	http.Error(w, advice, http.StatusGone)
}

// look finds out whether it is such a pod that asks.
func (h *Handler) look(ctx context.Context, name client.ObjectKey) {
	var pod corev1.Pod
	if err := h.Live.Get(ctx, name, &pod); err != nil {
		return
	}
	h.tell(&pod, advice)
}

// tell lets the owner of such a pod know, once.
func (h *Handler) tell(pod *corev1.Pod, what string) {
	if !slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == volume }) {
		return
	}
	if _, known := h.told.Get(pod.UID); known || !h.shares.reports.Allow(pod.Namespace) {
		return
	}
	h.told.Add(pod.UID, true)
	h.pods.Set(float64(h.told.Len()))
	h.Events.Eventf(pod, nil, corev1.EventTypeWarning, "RecreatePod", "Inject", what)
	h.Log.Info("a pod of an older version asked", "namespace", pod.Namespace, "pod", pod.Name)
}
