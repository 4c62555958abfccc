package authservice

import "github.com/prometheus/client_golang/prometheus"

// newPodsGauge creates the gauge of pods of akv2k8s 1.8 and registers it.
func newPodsGauge(registry prometheus.Registerer) (prometheus.Gauge, error) {
	pods := prometheus.NewGauge(prometheus.GaugeOpts{Name: "akv2k8s_legacy_pods",
		Help: "Pods of akv2k8s 1.8 that called the auth service since this replica started. Recreate them."})
	return pods, registry.Register(pods)
}

// newAnswerCounter creates the counter of responses, which exists only if the protocol is enabled, and registers it.
func newAnswerCounter(registry prometheus.Registerer) (*prometheus.CounterVec, error) {
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "akv2k8s_legacy_answers_total",
		Help: "Responses to pods of akv2k8s 1.8 while legacyAuthService is enabled: token, known, written, refused " +
			"or unavailable."}, []string{"answer"})
	return answers, registry.Register(answers)
}
