package telemetry

import (
	"crypto/fips140"
	"runtime"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/akv2k8s/akv2k8s/src/version"
)

// NewBuildInfo returns the metric with the version of the program and whether its cryptography is that of the FIPS
// 140-3 module. Join it with other metrics on the labels of the pod.
func NewBuildInfo(program string) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "akv2k8s_build_info",
		Help: "Version of the program; the value is always 1.",
		ConstLabels: prometheus.Labels{"program": program, "version": version.String(), "goversion": runtime.Version(),
			"fips140": strconv.FormatBool(fips140.Enabled())}})
	info.Set(1)
	return info
}
