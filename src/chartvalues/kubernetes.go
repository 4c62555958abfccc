package chartvalues

import (
	"reflect"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// kubernetesTypes are the parts of Kubernetes objects that values pass on, by the name that the rule "kubernetes" has
// in a field's tag. Their schemas come from the Go types, so that a misspelt field is refused by Helm and not lost in
// the cluster.
func kubernetesTypes() map[string]reflect.Type {
	return map[string]reflect.Type{
		"Affinity":                 reflect.TypeFor[corev1.Affinity](),
		"DeploymentStrategy":       reflect.TypeFor[appsv1.DeploymentStrategy](),
		"EnvVar":                   reflect.TypeFor[corev1.EnvVar](),
		"LabelSelectorRequirement": reflect.TypeFor[metav1.LabelSelectorRequirement](),
		"NetworkPolicyEgressRule":  reflect.TypeFor[networkingv1.NetworkPolicyEgressRule](),
		"PodDNSConfig":             reflect.TypeFor[corev1.PodDNSConfig](),
		"PodSecurityContext":       reflect.TypeFor[corev1.PodSecurityContext](),
		"Probe":                    reflect.TypeFor[corev1.Probe](),
		"ResourceRequirements":     reflect.TypeFor[corev1.ResourceRequirements](),
		"SecurityContext":          reflect.TypeFor[corev1.SecurityContext](),
		"Toleration":               reflect.TypeFor[corev1.Toleration](),
		"TopologySpreadConstraint": reflect.TypeFor[corev1.TopologySpreadConstraint](),
		"Volume":                   reflect.TypeFor[corev1.Volume](),
		"VolumeMount":              reflect.TypeFor[corev1.VolumeMount](),
	}
}

// definitionPrefix begins the names of Kubernetes types among the definitions of a schema.
const definitionPrefix = "kubernetes."

// template is a string that holds a Helm template; it may stand for a number or a boolean in values that the chart
// renders.
const template = `\{\{`

// kubernetesSchema refers to the definition of a type, and adds that definition and those of the types it is made of.
func kubernetesSchema(t reflect.Type, definitions Schema) Schema {
	switch t {
	case reflect.TypeFor[resource.Quantity]():
		return Schema{"type": []string{"string", "number", "null"}}
	case reflect.TypeFor[intstr.IntOrString]():
		return Schema{"type": []string{"integer", "string", "null"}}
	case reflect.TypeFor[metav1.Time]():
		return Schema{"type": []string{"string", "null"}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kubernetesSchema(t.Elem(), definitions)
	case reflect.Struct:
		return definition(t, definitions)
	case reflect.Slice:
		return Schema{"type": []string{"array", "null"}, "items": kubernetesSchema(t.Elem(), definitions)}
	case reflect.Map:
		return Schema{"type": []string{"object", "null"},
			"additionalProperties": kubernetesSchema(t.Elem(), definitions)}
	case reflect.Bool:
		return Schema{"type": []string{"boolean", "string", "null"}, "pattern": template}
	case reflect.String:
		return Schema{"type": []string{"string", "null"}}
	}
	return Schema{"type": []string{"integer", "string", "null"}, "pattern": template}
}

// definition adds a struct to the definitions if it is not there yet, and refers to it.
func definition(t reflect.Type, definitions Schema) Schema {
	name := definitionPrefix + t.Name()
	reference := Schema{"$ref": "#/definitions/" + name}
	if _, known := definitions[name]; known {
		return reference
	}
	properties := Schema{}
	definitions[name] = Schema{"type": []string{"object", "null"}, "properties": properties,
		"additionalProperties": false}
	for _, f := range reflect.VisibleFields(t) {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key != "" && key != "-" {
			properties[key] = kubernetesSchema(f.Type, definitions)
		}
	}
	return reference
}

// passedOn is the schema of a field that passes on a Kubernetes object, or a list of them.
func passedOn(f field, definitions Schema) Schema {
	t, known := kubernetesTypes()[f.rules["kubernetes"]]
	if !known {
		panic("chartvalues: " + f.path + " names a Kubernetes type that is not listed: " + f.rules["kubernetes"])
	}
	reference := kubernetesSchema(t, definitions)
	if f.typ == reflect.TypeFor[Objects]() {
		return Schema{"type": []string{"array", "null"}, "items": reference}
	}
	return Schema{"allOf": []Schema{reference}} // a reference alone would hide the description beside it
}
