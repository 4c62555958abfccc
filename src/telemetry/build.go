package telemetry

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/akv2k8s/akv2k8s/src/version"
)

// NewBuildInfo is the metric that says which version of a program runs. Join it with others on the labels of the pod.
func NewBuildInfo(program string) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "akv2k8s_build_info", Help: "Version of the program; the value is always 1.",
		ConstLabels: prometheus.Labels{"program": program, "version": version.String(), "goversion": runtime.Version()}})
	info.Set(1)
	return info
}
