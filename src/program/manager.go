package program

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/iplimit"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/telemetry"
)

// ManagerOptions returns the options that the managers of both programs have. The caller adds the watched types.
func (s *Settings) ManagerOptions(logger logr.Logger) (ctrl.Options, error) {
	scheme := runtime.NewScheme()
	err := errors.Join(clientgoscheme.AddToScheme(scheme), v2beta1.AddToScheme(scheme))
	return ctrl.Options{Scheme: scheme, Logger: logger, PprofBindAddress: s.PprofAddress,
		Metrics: metricsserver.Options{BindAddress: "0"}, // served by telemetry, on the port that probes use
		Cache:   cache.Options{DefaultTransform: cache.TransformStripManagedFields()}}, err
}

// HealthServer is the server of health checks and metrics.
type HealthServer struct {
	Port         int
	ServeMetrics bool
	// Ready returns an error if a part of the program is not ready; nil means always ready.
	Ready telemetry.Check
	// Handlers are additional handlers by pattern of http.ServeMux.
	Handlers map[string]http.Handler
	// Rejected counts rejected requests.
	Rejected *iplimit.Metrics
}

// AddHealthServer adds the server to the manager.
func AddHealthServer(mgr ctrl.Manager, s HealthServer) error {
	health := &telemetry.Health{Ready: s.Ready, Handlers: s.Handlers}
	if s.ServeMetrics {
		health.Gatherer = metrics.Registry
	}
	limiter, err := iplimit.New(iplimit.Config{Port: "health", Limits: iplimit.HealthLimits(),
		IsExempt: telemetry.IsProbe, Metrics: s.Rejected, Clock: time.Now, Log: mgr.GetLogger().WithName("iplimit")})
	if err != nil {
		return err
	}
	return mgr.Add(&iplimit.Server{Address: fmt.Sprintf(":%d", s.Port), Limiter: limiter, Handler: health.Handler(),
		RequestTimeout: limits.AnswerWriteTime})
}
