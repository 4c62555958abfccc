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

// kubernetesTypes returns the Kubernetes types that values can contain, by the name in the rule "kubernetes" of a
// field's tag. Their schemas are generated from the Go types, so that Helm rejects a misspelt field, which the API
// server would drop.
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

// definitionPrefix is the prefix of Kubernetes types in the definitions of a schema.
const definitionPrefix = "kubernetes."

// templatePattern matches a string with a Helm template, which can stand for a number or a boolean in values that the
// chart renders.
const templatePattern = `\{\{`

// kubernetesSchema returns the schema of a Kubernetes type. It adds the definitions of all structs in it.
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
		return structDefinition(t, definitions)
	case reflect.Slice:
		return Schema{"type": []string{"array", "null"}, "items": kubernetesSchema(t.Elem(), definitions)}
	case reflect.Map:
		return Schema{"type": []string{"object", "null"},
			"additionalProperties": kubernetesSchema(t.Elem(), definitions)}
	case reflect.Bool:
		return Schema{"type": []string{"boolean", "string", "null"}, "pattern": templatePattern}
	case reflect.String:
		return Schema{"type": []string{"string", "null"}}
	}
	return Schema{"type": []string{"integer", "string", "null"}, "pattern": templatePattern}
}

// structDefinition adds a struct to the definitions if they lack it, and returns a reference to it.
func structDefinition(t reflect.Type, definitions Schema) Schema {
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

// kubernetesFieldSchema returns the schema of a field that contains a part of a Kubernetes object, or a list of such
// parts.
func kubernetesFieldSchema(f valueField, definitions Schema) Schema {
	t, known := kubernetesTypes()[f.rules["kubernetes"]]
	if !known {
		panic("chartvalues: " + f.path + " names a Kubernetes type that is not listed: " + f.rules["kubernetes"])
	}
	reference := kubernetesSchema(t, definitions)
	if f.goType == reflect.TypeFor[RawObjectList]() {
		return Schema{"type": []string{"array", "null"}, "items": reference}
	}
	return Schema{"allOf": []Schema{reference}} // draft 7 ignores a description next to a bare $ref
}
