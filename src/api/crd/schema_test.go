package crd_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiservercel "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/crd"
)

// definition is the CustomResourceDefinition in the API server's internal type.
func definition(t *testing.T) apiextensions.CustomResourceDefinition {
	t.Helper()
	var external apiextensionsv1.CustomResourceDefinition
	require.NoError(t, yaml.UnmarshalStrict(crd.YAML(), &external))
	apiextensionsv1.SetDefaults_CustomResourceDefinition(&external)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&external.Spec)
	var internal apiextensions.CustomResourceDefinition
	require.NoError(t, apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&external, &internal, nil))
	return internal
}

func TestTheAPIServerTakesTheDefinition(t *testing.T) {
	d := definition(t)
	d.Status.StoredVersions = []string{"v2beta1"}
	// The validation also estimates the cost of the CEL rules.
	assert.Empty(t, crdvalidation.ValidateCustomResourceDefinition(t.Context(), &d))
}

// version holds the validators that the API server creates from the schema of one version.
type version struct {
	structural *schema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

func versions(t *testing.T) map[string]version {
	t.Helper()
	all, d := map[string]version{}, definition(t)
	for _, v := range d.Spec.Versions {
		properties := v.Schema
		if properties == nil {
			properties = d.Spec.Validation
		}
		structural, err := schema.NewStructural(properties.OpenAPIV3Schema)
		require.NoError(t, err)
		validator, _, err := validation.NewSchemaValidator(properties.OpenAPIV3Schema)
		require.NoError(t, err)
		all[v.Name] = version{structural, validator, cel.NewValidator(structural, true, apiservercel.PerCallLimit)}
	}
	return all
}

// refuse returns the API server's error for an update of older to object, or for a create if older is nil; empty if the
// API server accepts it.
func (v version) refuse(t *testing.T, object, older map[string]any) string {
	t.Helper()
	var problems field.ErrorList
	if older == nil {
		rules, _ := v.rules.Validate(t.Context(), nil, v.structural, object, nil, apiservercel.RuntimeCELCostBudget)
		problems = append(validation.ValidateCustomResource(nil, object, v.schema), rules...)
	} else {
		both := common.NewCorrelatedObject(object, older, &model.Structural{Structural: v.structural})
		rules, _ := v.rules.Validate(t.Context(), nil, v.structural, object, older, apiservercel.RuntimeCELCostBudget, cel.WithRatcheting(both))
		problems = append(validation.ValidateCustomResourceUpdate(nil, object, older, v.schema, validation.WithRatcheting(both)), rules...)
	}
	if len(problems) == 0 {
		return ""
	}
	return problems.ToAggregate().Error()
}

func object(t *testing.T, version, spec string) map[string]any {
	t.Helper()
	var made map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(`{apiVersion: spv.no/`+version+`, kind: AzureKeyVaultSecret, metadata: {name: n, namespace: ns}, spec: `+spec+`}`), &made))
	return made
}

func TestAStoredResourceThatTheSchemaWouldRefuseCanBeUpdated(t *testing.T) {
	const stored = "{vault: {name: kv1, object: {name: o, type: secret}}, output: {secret: {name: s%s}, configMap: {name: c, dataKey: ..data}}}"
	for name, v := range versions(t) {
		older := object(t, name, strings.Replace(stored, "%s", "", 1))
		require.NotEmpty(t, v.refuse(t, older, nil), "it was stored by 1.8")
		newer := object(t, name, strings.Replace(stored, "%s", "", 1))
		newer["status"] = map[string]any{"secretName": "s"}
		newer["metadata"].(map[string]any)["labels"] = map[string]any{"a": "b"}
		assert.Empty(t, v.refuse(t, newer, older), "%s: status and labels can be written", name)
		mended := object(t, name, strings.Replace(strings.Replace(stored, "%s", ", dataKey: k", 1), "..data", "k", 1))
		assert.Empty(t, v.refuse(t, mended, older), name)
		assert.Contains(t, v.refuse(t, object(t, name, strings.Replace(stored, "%s", "2", 1)), older), "spec.output.secret.dataKey", "%s: a change has to mend it", name)
	}
}

func TestWhatCannotWorkIsRefusedWhenItIsWritten(t *testing.T) {
	one := func(object, output string) string {
		return "{vault: {name: kv1, object: " + object + "}, output: " + output + "}"
	}
	of := func(kind, output string) string { return one("{name: o, type: "+kind+"}", output) }
	const many = "{name: o, type: multi-key-value-secret, contentType: application/x-json}"
	several := func(items string) string {
		return "{vault: {name: kv1}, data: " + items + ", output: {secret: {name: s}}}"
	}
	item := func(key string) string { return `{object: {name: o, type: secret}, dataKey: "` + key + `"}` }
	search := func(search string) string { return "{vault: {name: kv1}, dataFrom: [" + search + "]}" }
	restart := func(restart string) string {
		return "{vault: {name: kv1, object: {name: o, type: secret}}, rolloutRestart: " + restart + "}"
	}
	hundred := func(last string) string {
		items := make([]string, 100)
		for i := range items {
			items[i] = item(strings.Repeat("k", 150) + string(rune('a'+i/26)) + string(rune('a'+i%26)))
		}
		items[99] = item(last)
		return several("[" + strings.Join(items, ",") + "]")
	}
	all := versions(t)
	for name, c := range map[string]struct{ spec, says string }{
		"a Secret without a data key":             {of("secret", "{secret: {name: s}}"), "spec.output.secret.dataKey"},
		"an empty data key":                       {of("secret", `{secret: {name: s, dataKey: ""}}`), "spec.output.secret.dataKey"},
		"Opaque without a data key":               {of("secret", "{secret: {name: s, type: Opaque}}"), "spec.output.secret.dataKey"},
		"a type of their own without a data key":  {of("secret", "{secret: {name: s, type: example.org/own}}"), "spec.output.secret.dataKey"},
		"a certificate without a data key":        {of("certificate", "{secret: {name: s}}"), "spec.output.secret.dataKey"},
		"a certificate as ssh-auth without":       {of("certificate", "{secret: {name: s, type: kubernetes.io/ssh-auth}}"), "spec.output.secret.dataKey"},
		"a key without a data key":                {of("key", "{secret: {name: s, type: kubernetes.io/ssh-auth}}"), "spec.output.secret.dataKey"},
		"a ConfigMap without a data key":          {of("secret", "{configMap: {name: s}}"), "spec.output.configMap.dataKey"},
		"a Secret with, a ConfigMap without":      {of("secret", "{secret: {name: s, dataKey: k}, configMap: {name: s}}"), "spec.output.configMap.dataKey"},
		"a key as TLS":                            {of("key", "{secret: {name: s, dataKey: k, type: kubernetes.io/tls}}"), "spec.output.secret.type"},
		"an output of nothing":                    {of("secret", "{transform: [trim]}"), "set secret or configMap"},
		"the key .":                               {of("secret", "{secret: {name: s, dataKey: .}}"), "spec.output.secret.dataKey"},
		"the key ..":                              {of("secret", "{secret: {name: s, dataKey: ..}}"), "spec.output.secret.dataKey"},
		"the key ..data":                          {of("secret", "{secret: {name: s, dataKey: ..data}}"), "spec.output.secret.dataKey"},
		"the key ..data of a ConfigMap":           {of("secret", "{configMap: {name: s, dataKey: ..data}}"), "spec.output.configMap.dataKey"},
		"the key .. of an item":                   {several("[" + item("..") + "]"), "spec.data[0].dataKey"},
		"two items of one key":                    {several("[" + item("a") + "," + item("b") + "," + item("a") + "]"), "each dataKey must be different"},
		"a hundred items, two of one key":         {hundred(strings.Repeat("k", 150) + "aa"), "each dataKey must be different"},
		"an expression that is none":              {search("{match: {regexp: 'a('}}"), "spec.dataFrom[0].match.regexp"},
		"an expression of another language":       {search("{match: {regexp: '(?=a)'}}"), "spec.dataFrom[0].match.regexp"},
		"restarts by two ways":                    {restart("{auto: true, selector: {matchLabels: {a: b}}}"), "spec.rolloutRestart"},
		"restarts of every workload":              {restart("{selector: {}}"), "an empty selector"},
		"In of no values":                         {restart("{selector: {matchExpressions: [{key: a, operator: In}]}}"), "spec.rolloutRestart.selector.matchExpressions[0].values"},
		"Exists of values":                        {restart("{selector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}"), "spec.rolloutRestart.selector.matchExpressions[0].values"},
		"restarts by labels and of one":           {restart("{workloads: [{kind: Rollout, name: r}], selector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: NotIn, values: [d]}]}}"), ""},
		"a rewrite whose source is no expression": {search("{match: {prefix: a}, rewrite: {source: '[', target: ''}}"), "spec.dataFrom[0].rewrite.source"},

		"a Secret":                 {of("secret", "{secret: {name: s, dataKey: k}, allowEmpty: true}"), ""},
		"a key with dots":          {of("secret", "{secret: {name: s, dataKey: .a..b}, configMap: {name: c, dataKey: _}}"), ""},
		"a TLS Secret of a secret": {of("secret", "{secret: {name: s, type: kubernetes.io/tls}}"), ""},
		"a docker config":          {of("secret", "{secret: {name: s, type: kubernetes.io/dockerconfigjson}}"), ""},
		"an old docker config":     {of("secret", "{secret: {name: s, type: kubernetes.io/dockercfg}}"), ""},
		"basic-auth":               {of("secret", "{secret: {name: s, type: kubernetes.io/basic-auth}}"), ""},
		"ssh-auth":                 {of("secret", "{secret: {name: s, type: kubernetes.io/ssh-auth}}"), ""},
		"a TLS certificate":        {of("certificate", "{secret: {name: s, type: kubernetes.io/tls}}"), ""},
		"a key":                    {of("key", "{secret: {name: s, dataKey: k, keyFormat: pem}}"), ""},
		"many entries":             {one(many, "{secret: {name: s}, configMap: {name: s}}"), ""},
		"several":                  {several("[" + item("a") + "," + item("b") + ", {object: " + many + "}, {object: " + many + "}]"), ""},
		"a hundred items":          {hundred("last"), ""},
		"a search":                 {search("{match: {regexp: '^a[bc]+$'}, rewrite: {source: '^a(.)', target: '${1}'}}"), ""},
		"for pods alone":           {"{vault: {name: kv1, object: {name: o, type: key}}}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for version, v := range all {
				answer := v.refuse(t, object(t, version, c.spec), nil)
				if c.says == "" {
					assert.Empty(t, answer, version)
				} else {
					assert.Contains(t, answer, c.says, version)
				}
			}
		})
	}
}
