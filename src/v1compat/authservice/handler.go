package authservice

import (
	"context"
	"net/http"
	"slices"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/fairshare"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
)

// RoutePattern is the route of the 1.8 protocol. The wrapper of 1.8 calls it first over plain HTTP, then over TLS.
const RoutePattern = "GET /auth/{namespace}/{pod}"

// clientCertVolume is the name of the volume that 1.8 added to every pod that it injected.
const clientCertVolume = "akv2k8s-client-cert"

// Messages in responses and events of pods that 1.8 injected.
const (
	recreateMessage = "this pod was injected by akv2k8s 1.8, whose auth protocol is no longer served; recreate the " +
		"pod: kubectl rollout restart its workload"
	servedMessage = "this pod was injected by akv2k8s 1.8 and gets a token for every vault of the installation until " +
		"it is recreated; recreate the pod: kubectl rollout restart its workload"
)

// Config configures a Handler. Fields are required unless their comment says that they are optional.
type Config struct {
	// Live reads pods directly from the API server, and also Secrets and namespaces if the protocol is enabled.
	Live client.Reader
	// Events records events on the pods.
	Events events.EventRecorder
	// Registry is where New registers the metrics.
	Registry prometheus.Registerer
	Log      logr.Logger
	// Protocol enables the protocol of 1.8. Optional. If nil, every request is answered with 410 Gone.
	Protocol *ProtocolConfig
}

// Handler serves the route of the 1.8 protocol over plain HTTP. It is an http.Handler.
type Handler struct {
	Config
	limiters requestLimiters
	// reportedPods holds the uids of the pods that got an event.
	reportedPods *lru.Cache
	podsGauge    prometheus.Gauge
	// protocol is nil if the protocol is disabled.
	protocol *protocolServer
}

// New checks the configuration, registers the metrics and returns a Handler.
func New(c Config) (*Handler, error) {
	if err := fault.RequireFields("authservice.New", map[string]bool{
		"Live": c.Live != nil, "Events": c.Events != nil, "Registry": c.Registry != nil,
	}); err != nil {
		return nil, err
	}
	pods, err := newPodsGauge(c.Registry)
	if err != nil {
		return nil, err
	}
	h := &Handler{Config: c, limiters: newRequestLimiters(), reportedPods: lru.New(limits.V1Pods), podsGauge: pods}
	if c.Protocol != nil {
		h.protocol, err = newProtocolServer(h)
	}
	return h, err
}

// ServeHTTP implements http.Handler. If the protocol is disabled, the response is the same for every path, so it does
// not reveal which pods exist.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.protocol != nil {
		h.protocol.handleValidation(w, r)
		return
	}
	name, err := podNameOf(r)
	from := fairshare.AddressKey(r.RemoteAddr)
	if err == nil && h.limiters.lookupRate.Allow(from) && h.limiters.requestSlots.TryAcquire(from, 1) {
		defer h.limiters.requestSlots.Release(from, 1)
		ctx, cancel := context.WithTimeout(r.Context(), limits.V1RequestTime)
		defer cancel()
		h.reportPodByName(ctx, name)
	}
	http.Error(w, recreateMessage, http.StatusGone)
}

// reportPodByName reads the pod and reports it if 1.8 injected it.
func (h *Handler) reportPodByName(ctx context.Context, name client.ObjectKey) {
	var pod corev1.Pod
	if err := h.Live.Get(ctx, name, &pod); err != nil {
		return
	}
	h.reportV1Pod(&pod, recreateMessage)
}

// eventRecreatePod is the reason of the event on a pod that 1.8 injected.
const eventRecreatePod = "RecreatePod"

// reportV1Pod records one event and one log line on a pod that 1.8 injected.
func (h *Handler) reportV1Pod(pod *corev1.Pod, what string) {
	if !slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == clientCertVolume }) {
		return
	}
	if _, known := h.reportedPods.Get(pod.UID); known || !h.limiters.reportRate.Allow(pod.Namespace) {
		return
	}
	h.reportedPods.Add(pod.UID, true)
	h.podsGauge.Set(float64(h.reportedPods.Len()))
	h.Events.Eventf(pod, nil, corev1.EventTypeWarning, eventRecreatePod, "Inject", what)
	h.Log.Info("a pod of akv2k8s 1.8 called the auth service", logkey.Namespace, pod.Namespace, logkey.Pod, pod.Name)
}
