package rollout

import (
	"context"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// affects reports whether pods of the workload use a changed output, as variables or files, or refer to the resource.
// Only for workloads that allow restarts, references are also searched in ConfigMaps and Secrets.
func (c Change) affects(ctx context.Context, w workload, sources *sources) (bool, error) {
	if c.isUsedIn(w.template.Spec) || slices.Contains(namesInFiles(w.template.Annotations), c.Resource) {
		return true, nil
	}
	for _, container := range slices.Concat(w.template.Spec.InitContainers, w.template.Spec.Containers) {
		if slices.ContainsFunc(container.Env, func(v corev1.EnvVar) bool { return c.isReferenceIn(v, w.template) }) {
			return true, nil
		}
	}
	if w.GetAnnotations()[wire.AnnotationRestart] != "true" {
		return false, nil
	}
	return sources.haveReference(ctx, w.template.Spec, c.Resource)
}

// isUsedIn reports whether a pod uses a changed output.
func (c Change) isUsedIn(pod corev1.PodSpec) bool {
	for kind, name := range c.Outputs {
		if name != "" && slices.Contains(kind.NamesUsedBy(pod), name) {
			return true
		}
	}
	return false
}

// isReferenceIn reports whether the value of a variable is a reference to the resource. The value can be in a label or
// annotation of the pod.
func (c Change) isReferenceIn(v corev1.EnvVar, template *corev1.PodTemplateSpec) bool {
	value := v.Value
	if v.ValueFrom != nil {
		if v.ValueFrom.FieldRef == nil {
			return false
		}
		value = metadataField(v.ValueFrom.FieldRef.FieldPath, template)
	}
	return referencedName(value) == c.Resource
}

// referencedName returns the name in a reference; empty if the text is none.
func referencedName(text string) string {
	if !strings.Contains(text, "@") {
		return ""
	}
	ref, err := envref.Parse(text)
	if err != nil {
		return ""
	}
	return ref.Name
}

// metadataFieldPattern is the path of one label or annotation in a fieldRef.
var metadataFieldPattern = regexp.MustCompile(`^metadata\.(labels|annotations)\['([^']+)'\]$`)

func metadataField(path string, template *corev1.PodTemplateSpec) string {
	match := metadataFieldPattern.FindStringSubmatch(path)
	switch {
	case match == nil:
		return ""
	case match[1] == "labels":
		return template.Labels[match[2]]
	}
	return template.Annotations[match[2]]
}

// referencePattern is a reference anywhere in a text.
var referencePattern = regexp.MustCompile(`([a-zA-Z0-9][-.a-zA-Z0-9]*)@azurekeyvault\b`)

// namesInFiles returns the names of the resources whose values are files of the pod, in its annotations
// akv2k8s.io/files and akv2k8s.io/files.CONTAINER. Other ways to refer to a resource from a file belong here. The form
// of the annotations does not matter: each reference in them counts.
func namesInFiles(annotations map[string]string) []string {
	var names []string
	for key, value := range annotations {
		if key != "akv2k8s.io/files" && !strings.HasPrefix(key, "akv2k8s.io/files.") {
			continue
		}
		for _, match := range referencePattern.FindAllStringSubmatch(value, -1) {
			names = append(names, match[1])
		}
	}
	return names
}
