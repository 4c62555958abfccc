package chartvalues

// Types of values. Pointers, maps and lists accept null, which is also the value of an empty key and means the same as
// an absent key.
type (
	// QuotableInt is an integer, optionally quoted, because charts without a schema accepted quotes.
	QuotableInt int
	// IntOrPercent is an integer or a percentage, like intstr.IntOrString of Kubernetes.
	IntOrPercent string
	// Duration is a duration in Go's format, for example 30s or 12h, or in days, for example 30d.
	Duration string
	// RawObject is a part of a Kubernetes object that the chart renders unchanged.
	RawObject map[string]any
	// RawObjectList is a list of parts of Kubernetes objects.
	RawObjectList []map[string]any
	// ScalarMap maps names to values of any scalar type, for example environment variables.
	ScalarMap map[string]any
	// StringMap maps names to strings, for example labels. The chart converts numbers and booleans to strings.
	StringMap map[string]string
	// StringListMap maps names to lists of strings.
	StringListMap map[string][]string
	// NameList is a list of names, each a string or an object with the key name.
	NameList []any
	// ManifestList is a list of Kubernetes objects, each an object or YAML text.
	ManifestList []any
	// IgnoredValue is a value that the chart accepts and ignores, because an older chart or a parent chart has it.
	IgnoredValue any
)

// Image is an image reference and its pull policy.
type Image struct {
	Registry   *string `json:"registry" chart:"is=registry"`
	Repository string  `json:"repository" chart:"minLength=1;is=repository"`
	Tag        *string `json:"tag" chart:"is=tag"`
	Digest     *string `json:"digest" chart:"pattern=^(sha256:[0-9a-f]{64})?$"`
	PullPolicy string  `json:"pullPolicy" chart:"enum=Always|IfNotPresent|Never"`
}

// ComponentImage is the image of a component, with an optional pull secret.
type ComponentImage struct {
	Image
	PullSecret *string `json:"pullSecret" chart:"is=name"`
}

// ServiceAccount configures the ServiceAccount of a component.
type ServiceAccount struct {
	Create      bool      `json:"create"`
	Name        *string   `json:"name" chart:"is=name"`
	Annotations StringMap `json:"annotations"`
	Labels      StringMap `json:"labels"`
}

// Metrics configures serving and scraping of metrics. null means the value of global.
type Metrics struct {
	Enabled        *bool   `json:"enabled"`
	ServiceMonitor Monitor `json:"serviceMonitor"`
	PodMonitor     Monitor `json:"podMonitor"`
}

// GlobalMetrics configures the metrics of both components, the alerts and the dashboard.
type GlobalMetrics struct {
	Metrics
	PrometheusRule   PrometheusRule   `json:"prometheusRule"`
	GrafanaDashboard GrafanaDashboard `json:"grafanaDashboard"`
}

// Monitor configures a ServiceMonitor or PodMonitor of a Prometheus operator.
type Monitor struct {
	Enabled          *bool     `json:"enabled"`
	Interval         *Duration `json:"interval"`
	AdditionalLabels StringMap `json:"additionalLabels"`
	Endpoint         RawObject `json:"endpoint"`
}

// PrometheusRule configures alerts for a Prometheus operator.
type PrometheusRule struct {
	Enabled          bool          `json:"enabled"`
	AdditionalLabels StringMap     `json:"additionalLabels"`
	ExtraRules       RawObjectList `json:"extraRules"`
}

// GrafanaDashboard configures a ConfigMap with a dashboard for Grafana's sidecar.
type GrafanaDashboard struct {
	Enabled     bool      `json:"enabled"`
	Labels      StringMap `json:"labels"`
	Annotations StringMap `json:"annotations"`
}

// NetworkPolicy configures the NetworkPolicy of a component.
type NetworkPolicy struct {
	Enabled bool   `json:"enabled"`
	Egress  Egress `json:"egress"`
}

// Egress configures the egress rules of a NetworkPolicy.
type Egress struct {
	Enabled bool          `json:"enabled"`
	Extra   RawObjectList `json:"extra" chart:"kubernetes=NetworkPolicyEgressRule"`
}

// ComponentRBAC configures the roles of a component. null means the value of global.
type ComponentRBAC struct {
	Create *bool `json:"create"`
}
