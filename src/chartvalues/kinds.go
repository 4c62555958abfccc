package chartvalues

// The types below are what values are made of. A pointer takes null too, and so does every map and list: null is what a
// key without a value is, and means what an absent key means.
type (
	// Int is a number; in quotes it was taken by charts without a schema, so it is taken.
	Int int
	// IntOrPercent is a number or a percentage, as Kubernetes has it for budgets and updates.
	IntOrPercent string
	// Duration is a time as Go writes it, for example 30s or 12h, or with days, for example 30d.
	Duration string
	// Object is a part of a Kubernetes object that is passed on as it is.
	Object map[string]any
	// Objects are several of them.
	Objects []map[string]any
	// Scalars are values of any scalar type by name, for example of environment variables.
	Scalars map[string]any
	// Texts are strings by name, for example labels; the chart makes strings of numbers and booleans.
	Texts map[string]string
	// Lists are lists of strings by name.
	Lists map[string][]string
	// Names are names, each alone or as an object with the key name.
	Names []any
	// Manifests are whole Kubernetes objects, or texts of them.
	Manifests []any
	// Anything is what the chart ignores, and accepts because a chart had it once, or because a parent chart does.
	Anything any
)

// Image says where an image comes from.
type Image struct {
	Registry   *string `json:"registry" chart:"is=registry"`
	Repository string  `json:"repository" chart:"minLength=1;is=repository"`
	Tag        *string `json:"tag" chart:"is=tag"`
	Digest     *string `json:"digest" chart:"pattern=^(sha256:[0-9a-f]{64})?$"`
	PullPolicy string  `json:"pullPolicy" chart:"enum=Always|IfNotPresent|Never"`
}

// OwnImage is the image of a component, which may need a secret.
type OwnImage struct {
	Image
	PullSecret *string `json:"pullSecret" chart:"is=name"`
}

// ServiceAccount is what a component runs as.
type ServiceAccount struct {
	Create      bool    `json:"create"`
	Name        *string `json:"name" chart:"is=name"`
	Annotations Texts   `json:"annotations"`
	Labels      Texts   `json:"labels"`
}

// Metrics says whether metrics are served and scraped; what is null is as in global.
type Metrics struct {
	Enabled        *bool   `json:"enabled"`
	ServiceMonitor Monitor `json:"serviceMonitor"`
	PodMonitor     Monitor `json:"podMonitor"`
}

// GlobalMetrics are those of both components, and what is made of them.
type GlobalMetrics struct {
	Metrics
	PrometheusRule   PrometheusRule   `json:"prometheusRule"`
	GrafanaDashboard GrafanaDashboard `json:"grafanaDashboard"`
}

// Monitor tells a Prometheus operator about metrics.
type Monitor struct {
	Enabled          *bool     `json:"enabled"`
	Interval         *Duration `json:"interval"`
	AdditionalLabels Texts     `json:"additionalLabels"`
	Endpoint         Object    `json:"endpoint"`
}

// PrometheusRule are alerts for a Prometheus operator.
type PrometheusRule struct {
	Enabled          bool    `json:"enabled"`
	AdditionalLabels Texts   `json:"additionalLabels"`
	ExtraRules       Objects `json:"extraRules"`
}

// GrafanaDashboard is a dashboard for Grafana's sidecar.
type GrafanaDashboard struct {
	Enabled     bool  `json:"enabled"`
	Labels      Texts `json:"labels"`
	Annotations Texts `json:"annotations"`
}

// NetworkPolicy bounds who talks to a component, and whom it talks to.
type NetworkPolicy struct {
	Enabled bool   `json:"enabled"`
	Egress  Egress `json:"egress"`
}

// Egress is whom a component talks to.
type Egress struct {
	Enabled bool    `json:"enabled"`
	Extra   Objects `json:"extra" chart:"kubernetes=NetworkPolicyEgressRule"`
}

// ComponentRBAC are the rights of a component; null is as in global.
type ComponentRBAC struct {
	Create *bool `json:"create"`
}
