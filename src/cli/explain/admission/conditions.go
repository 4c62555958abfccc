package admission

import (
	"context"
	"regexp"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
)

// requestFields are the fields of the request that are known without it: those of a pod's creation.
func requestFields() []string {
	return []string{"operation", "namespace", "kind", "resource", "subResource", "requestKind", "requestResource",
		"requestSubResource"}
}

// requestUse finds uses of the variables request and authorizer. The user and the other fields of the request that will
// create a pod are not known.
var requestUse = regexp.MustCompile(`\b(?:request\b(?:\.(\w+))?|authorizer\b)`)

// isEvaluable reports whether an expression uses only what is known.
func isEvaluable(expression string) bool {
	for _, use := range requestUse.FindAllStringSubmatch(expression, -1) {
		if !slices.Contains(requestFields(), use[1]) {
			return false
		}
	}
	return true
}

// checkConditions evaluates the matchConditions of a webhook for the creation of a pod, as the API server does. failed
// is the name of a condition that is false; unknown are the names of those that can't be evaluated here. Errors of CEL
// are not returned, because they can have values of the pod.
func checkConditions(ctx context.Context, webhook *admissionv1.MutatingWebhook, pod *corev1.Pod) (failed string,
	unknown []string) {
	for _, condition := range webhook.MatchConditions {
		if !isEvaluable(condition.Expression) {
			unknown = append(unknown, condition.Name)
			continue
		}
		switch result := evaluateCondition(ctx, condition, pod); {
		case result.Error != nil:
			unknown = append(unknown, condition.Name)
		case !result.Matches:
			return condition.Name, nil
		}
	}
	return "", unknown
}

// evaluateCondition evaluates one condition.
func evaluateCondition(ctx context.Context, condition admissionv1.MatchCondition,
	pod *corev1.Pod) matchconditions.MatchResult {
	created := pod.DeepCopy()
	kind := corev1.SchemeGroupVersion.WithKind("Pod")
	created.SetGroupVersionKind(kind)
	created.Status = corev1.PodStatus{}
	attributes := admission.NewAttributesRecord(created, nil, kind, pod.Namespace, pod.Name,
		corev1.SchemeGroupVersion.WithResource("pods"), "", admission.Create, &metav1.CreateOptions{}, false,
		&user.DefaultInfo{})
	compiler := cel.NewConditionCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	one := matchconditions.MatchCondition(condition)
	compiled := compiler.CompileCondition([]cel.ExpressionAccessor{&one},
		cel.OptionalVariableDeclarations{HasAuthorizer: true}, environment.StoredExpressions)
	// With the policy Fail, an error is an error, and not a condition that is false.
	policy := admissionv1.Fail
	versioned := &admission.VersionedAttributes{Attributes: attributes,
		VersionedObject: admission.NewLazyObject(created), VersionedKind: kind}
	matcher := matchconditions.NewMatcher(compiled, &policy, "webhook", "admit", webhookName)
	return matcher.Match(ctx, versioned, nil, nil)
}

// conditionCause says which condition excludes a pod.
func conditionCause(name string) Cause {
	return Cause{Reason: "the matchCondition " + name + " of the webhook is false for the pod",
		Try: "change the pod so that the condition is true, or the condition in env_injector.matchConditions of the chart's " +
			"values"}
}

// conditionNote says which conditions are not known.
func conditionNote(names []string) string {
	return "These matchConditions of the webhook were not evaluated, because they need the request or the user, or " +
		"fail for this pod; they can exclude it: " + strings.Join(names, ", ")
}
