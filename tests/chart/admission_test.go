package chart

import (
	"context"

	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/strvals"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/generic"
	"k8s.io/apiserver/pkg/admission/plugin/policy/matching"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/warning"
	listersv1 "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// oldestKubernetes is the oldest version that Chart.yaml allows. An expression that it can't compile would make helm
// install fail there.
func oldestKubernetes() *version.Version { return version.MustParseGeneric("1.30") }

// admissionChain is what the API server does with the chart's ValidatingAdmissionPolicies, by the API server's own
// code.
type admissionChain struct {
	hooks      []validating.PolicyHook
	dispatcher generic.Dispatcher[validating.PolicyHook]
	objects    admission.ObjectInterfaces
}

// newAdmissionChain compiles every policy of a render with its bindings. The namespaces are those that exist.
func newAdmissionChain(t *testing.T, all objects, namespaces ...*corev1.Namespace) *admissionChain {
	t.Helper()
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	for _, namespace := range namespaces {
		require.NoError(t, indexer.Add(namespace))
	}
	chain := &admissionChain{
		dispatcher: validating.NewDispatcher(nil, generic.NewPolicyMatcher(matching.NewMatcher(listersv1.NewNamespaceLister(indexer), nil))),
		objects:    admission.NewObjectInterfacesFromScheme(runtime.NewScheme()),
	}
	bindings := map[string][]*admissionv1.ValidatingAdmissionPolicyBinding{}
	for _, object := range all {
		if object.GetKind() == "ValidatingAdmissionPolicyBinding" {
			binding := typed[admissionv1.ValidatingAdmissionPolicyBinding](t, object)
			if resources := binding.Spec.MatchResources; resources != nil {
				setMatchDefaults(resources)
			}
			bindings[binding.Spec.PolicyName] = append(bindings[binding.Spec.PolicyName], binding)
		}
	}
	for name, object := range all {
		if object.GetKind() != "ValidatingAdmissionPolicy" {
			continue
		}
		policy := typed[admissionv1.ValidatingAdmissionPolicy](t, object)
		setMatchDefaults(policy.Spec.MatchConstraints)
		require.NotEmpty(t, bindings[policy.Name], "%s is bound nowhere, so it does nothing", name)
		chain.hooks = append(chain.hooks, validating.PolicyHook{Policy: policy, Bindings: bindings[policy.Name], Evaluator: compilePolicy(t, policy)})
		delete(bindings, policy.Name)
	}
	require.Empty(t, bindings, "bindings of policies that are not rendered")
	return chain
}

// setMatchDefaults sets what the API server sets where a policy says nothing.
func setMatchDefaults(resources *admissionv1.MatchResources) {
	equivalent := admissionv1.Equivalent
	if resources.MatchPolicy == nil {
		resources.MatchPolicy = &equivalent
	}
	if resources.NamespaceSelector == nil {
		resources.NamespaceSelector = &metav1.LabelSelector{}
	}
	if resources.ObjectSelector == nil {
		resources.ObjectSelector = &metav1.LabelSelector{}
	}
	for i := range resources.ResourceRules {
		if resources.ResourceRules[i].Scope == nil {
			scope := admissionv1.AllScopes
			resources.ResourceRules[i].Scope = &scope
		}
	}
}

// compilePolicy compiles a policy for the oldest version of Kubernetes, and requires that every expression compiles.
func compilePolicy(t *testing.T, policy *admissionv1.ValidatingAdmissionPolicy) validating.Validator {
	t.Helper()
	oldest, err := environment.MustBaseEnvSet(oldestKubernetes()).Extend(environment.StrictCostOpt)
	require.NoError(t, err)
	compiler, err := plugincel.NewCompositedCompiler(oldest)
	require.NoError(t, err)
	declared := plugincel.OptionalVariableDeclarations{HasAuthorizer: true}
	for _, variable := range policy.Spec.Variables {
		result := compiler.CompileAndStoreVariable(&validating.Variable{Name: variable.Name, Expression: variable.Expression}, declared, environment.NewExpressions)
		require.Nil(t, result.Error, "%s: variable %s: %v", policy.Name, variable.Name, result.Error)
	}
	compile := func(declared plugincel.OptionalVariableDeclarations, expressions []plugincel.ExpressionAccessor) plugincel.ConditionEvaluator {
		condition := compiler.CompileCondition(expressions, declared, environment.NewExpressions)
		require.Empty(t, condition.CompilationErrors(), policy.Name)
		return condition
	}
	var conditions []plugincel.ExpressionAccessor
	for i := range policy.Spec.MatchConditions {
		conditions = append(conditions, (*matchconditions.MatchCondition)(&policy.Spec.MatchConditions[i]))
	}
	validations := make([]plugincel.ExpressionAccessor, len(policy.Spec.Validations))
	messages := make([]plugincel.ExpressionAccessor, len(policy.Spec.Validations))
	for i, validation := range policy.Spec.Validations {
		require.NotEmpty(t, validation.Message, "%s: a validation without a message shows its expression", policy.Name)
		validations[i] = &validating.ValidationCondition{Expression: validation.Expression, Message: validation.Message, Reason: validation.Reason}
		if validation.MessageExpression != "" {
			messages[i] = &validating.MessageExpressionCondition{MessageExpression: validation.MessageExpression}
		}
	}
	return validating.NewValidator(compile(declared, validations),
		matchconditions.NewMatcher(compile(declared, conditions), policy.Spec.FailurePolicy, "policy", "validate", policy.Name),
		compile(declared, nil), compile(plugincel.OptionalVariableDeclarations{}, messages), policy.Spec.FailurePolicy, nil)
}

// write is one request to the API server that changes an object.
type write struct {
	operation admission.Operation
	group     string
	resource  string
	// subresource is empty for the object itself.
	subresource string
	// old is the object as it is; nil for a create. new is nil for a delete.
	old, new runtime.Object
	// namespace and name are those of the object, if neither of the two says them.
	namespace, name string
	account         string
}

// recorder keeps the warnings of a request.
type recorder struct{ warnings []string }

func (r *recorder) AddWarning(_, text string) { r.warnings = append(r.warnings, text) }

// admit sends a write through every policy, and gives the warnings of those that warn and the refusal of the one that
// denies.
func (c *admissionChain) admit(t *testing.T, w write) ([]string, error) {
	t.Helper()
	old, changed := loose(t, w.old), loose(t, w.new)
	for _, object := range []*unstructured.Unstructured{old, changed} {
		if object != nil {
			w.namespace, w.name = object.GetNamespace(), object.GetName()
		}
	}
	example := changed
	if example == nil {
		example = old
	}
	kind := schema.GroupVersionKind{}
	if example != nil {
		kind = example.GroupVersionKind()
	}
	account := &user.DefaultInfo{Name: w.account, Groups: []string{"system:authenticated"}}
	if namespace, _, found := strings.Cut(strings.TrimPrefix(w.account, "system:serviceaccount:"), ":"); found {
		account.Groups = append(account.Groups, "system:serviceaccounts", "system:serviceaccounts:"+namespace)
	}
	apiVersion := kind.Version
	if apiVersion == "" {
		apiVersion = "v1"
	}
	attributes := admission.NewAttributesRecord(orNil(changed), orNil(old), kind, w.namespace, w.name,
		schema.GroupVersionResource{Group: w.group, Version: apiVersion, Resource: w.resource}, w.subresource, w.operation, nil, false, account)
	seen := &recorder{}
	err := c.dispatcher.Dispatch(warning.WithWarningRecorder(context.Background(), seen), attributes, c.objects, c.hooks)
	return seen.warnings, err
}

// orNil keeps a nil pointer from becoming an object that is not nil.
func orNil(object *unstructured.Unstructured) runtime.Object {
	if object == nil {
		return nil
	}
	return object
}

// loose is an object without its Go type, as policies see it.
func loose(t *testing.T, object runtime.Object) *unstructured.Unstructured {
	t.Helper()
	if object == nil {
		return nil
	}
	if ready, ok := object.(*unstructured.Unstructured); ok {
		return ready
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	require.NoError(t, err)
	require.NotEmpty(t, content["kind"], "the object needs its TypeMeta")
	return &unstructured.Unstructured{Object: content}
}

// typed reads an object of the render as its Go type.
func typed[T any](t *testing.T, object *unstructured.Unstructured) *T {
	t.Helper()
	into := new(T)
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, into, true))
	return into
}

// namespaceWith is a namespace as the API server keeps it.
func namespaceWith(name string, labels map[string]string) *corev1.Namespace {
	all := map[string]string{"kubernetes.io/metadata.name": name}
	for key, value := range labels {
		all[key] = value
	}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: all}}
}

// fromSet reads values as --set does.
func fromSet(t *testing.T, items ...string) map[string]any {
	t.Helper()
	values := map[string]any{}
	for _, item := range items {
		require.NoError(t, strvals.ParseInto(item, values))
	}
	return values
}

// drawn renders the chart by the library, with values as --set has them.
func drawn(t *testing.T, set ...string) objects {
	t.Helper()
	out, err := draw(fromSet(t, set...))
	require.NoError(t, err)
	return parse(t, out)
}
