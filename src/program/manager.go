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

// NewHealthServer returns the server of health checks and metrics. It counts rejected requests in rejected.
func NewHealthServer(port int, handler http.Handler, rejected *iplimit.Metrics, logger logr.Logger) (*iplimit.Server,
	error) {
	limiter, err := iplimit.New(iplimit.Config{Port: "health", Limits: iplimit.HealthLimits(),
		IsExempt: telemetry.IsProbe, Metrics: rejected, Clock: time.Now, Log: logger.WithName("gate")})
	if err != nil {
		return nil, err
	}
	return &iplimit.Server{Address: fmt.Sprintf(":%d", port), Limiter: limiter, Handler: handler,
		RequestTimeout: limits.AnswerWriteTime}, nil
}
