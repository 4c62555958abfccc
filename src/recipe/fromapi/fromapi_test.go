package fromapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

func TestParseReadsEveryField(t *testing.T) {
	typed := v2beta1.AzureKeyVaultSecret{Spec: v2beta1.AzureKeyVaultSecretSpec{
		Vault: v2beta1.AzureKeyVault{
			Name:          "kv-1",
			Object:        v2beta1.AzureKeyVaultObject{Name: "cert", Type: "multi-key-value-secret", Version: "0a", ContentType: "application/x-yaml"},
			AzureIdentity: &v2beta1.AzureIdentity{Name: "sa"},
		},
		RefreshInterval: new(intstr.FromString("1h")),
		Output: &v2beta1.AzureKeyVaultOutput{
			Transform: []v2beta1.Transform{"trim", "base64decode"},
			Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: "s", Type: "kubernetes.io/tls", DataKey: "k", ChainOrder: "ensureserverfirst", KeyFormat: "jwk",
				Metadata:  &v2beta1.AzureKeyVaultOutputMetadata{Labels: map[string]string{"l": "1"}, Annotations: map[string]string{"a": "2"}},
				Immutable: true},
			ConfigMap: &v2beta1.AzureKeyVaultOutputConfigMap{Name: "c", DataKey: "ck", KeyFormat: "pem"},
		},
	}}
	hour := time.Hour
	want := recipe.Recipe{
		Vault: "kv-1", Identity: "sa", RefreshInterval: &hour,
		Items: []recipe.Item{{Name: "cert", Version: "0a", Type: decode.MultiKey, ContentType: "application/x-yaml", Transforms: []string{"trim", "base64decode"}}},
		Outputs: []recipe.Output{{Kind: recipe.OutputSecret, Name: "s", Type: "kubernetes.io/tls", DataKey: "k", ChainOrder: "ensureserverfirst", KeyFormat: "jwk",
			Labels: map[string]string{"l": "1"}, Annotations: map[string]string{"a": "2"}, Immutable: true}, {Kind: recipe.OutputConfigMap, Name: "c", DataKey: "ck", KeyFormat: "pem"}},
	}
	marshalled, err := json.Marshal(typed)
	require.NoError(t, err)
	got, err := fromapi.Parse(marshalled)
	require.NoError(t, err)
	assert.Empty(t, cmp.Diff(want, got))

	served := []byte(`{"apiVersion":"spv.no/v2beta1","kind":"AzureKeyVaultSecret","metadata":{"name":"n","uid":"u"},"spec":{
		"vault":{"name":"kv-1","object":{"name":"cert","type":"multi-key-value-secret","version":"0a","contentType":"application/x-yaml"},
		"azureIdentity":{"name":"sa"}},"refreshInterval":"1h","output":{"transform":["trim","base64decode"],
		"secret":{"name":"s","type":"kubernetes.io/tls","dataKey":"k","chainOrder":"ensureserverfirst","keyFormat":"jwk",
		"metadata":{"labels":{"l":"1"},"annotations":{"a":"2"}},"immutable":true},
		"configMap":{"name":"c","dataKey":"ck","keyFormat":"pem"}}},"status":{"secretName":"ignored"}}`)
	fromServer, err := fromapi.Parse(served)
	require.NoError(t, err)
	assert.Empty(t, cmp.Diff(got, fromServer), "the server's bytes and the typed object must mean the same")
}

const minimal = `{"spec":{"vault":{"name":"kv1","object":{"name":"o","type":"secret"}}`

func TestParseAcceptsBothSpellingsOfTransform(t *testing.T) {
	for _, spelling := range []string{"transform", "transforms"} {
		r, err := fromapi.Parse([]byte(minimal + `,"output":{"` + spelling + `":["trim"]}}}`))
		require.NoError(t, err)
		assert.Equal(t, []string{"trim"}, r.Items[0].Transforms)
	}
	r, err := fromapi.Parse([]byte(minimal + `}}`))
	require.NoError(t, err)
	assert.Empty(t, r.Outputs, "no output means no Secret")
}

func TestParseRefusesAndNamesTheField(t *testing.T) {
	cases := map[string]struct{ object, field string }{
		"no JSON":             {`{`, "AzureKeyVaultSecret"},
		"no vault":            {`{"spec":{"vault":{"object":{"name":"o","type":"secret"}}}}`, "spec.vault.name"},
		"a vault with dots":   {`{"spec":{"vault":{"name":"kv1.vault.azure.net","object":{"name":"o","type":"secret"}}}}`, "spec.vault.name"},
		"a vault with slash":  {`{"spec":{"vault":{"name":"kv1/x","object":{"name":"o","type":"secret"}}}}`, "spec.vault.name"},
		"an object as a path": {`{"spec":{"vault":{"name":"kv1","object":{"name":"../x","type":"secret"}}}}`, "spec.vault.object.name"},
		"a version as a path": {`{"spec":{"vault":{"name":"kv1","object":{"name":"o","type":"secret","version":"a/b"}}}}`, "spec.vault.object.version"},
		"an unknown type":     {`{"spec":{"vault":{"name":"kv1","object":{"name":"o","type":"token"}}}}`, "spec.vault.object.type"},
		"multi-key without a content type": {
			`{"spec":{"vault":{"name":"kv1","object":{"name":"o","type":"multi-key-value-secret"}}}}`, "spec.vault.object.contentType"},
		"both spellings of transform": {minimal + `,"output":{"transform":["trim"],"transforms":["trim"]}}}`, "transforms"},
		"an unknown transform":        {minimal + `,"output":{"transform":["rot13"]}}}`, "spec.output.transform"},
		"a reserved type":             {minimal + `,"output":{"secret":{"name":"s","type":"kubernetes.io/service-account-token"}}}}`, "spec.output.secret.type"},
		"a type for new nodes": {
			minimal + `,"output":{"secret":{"name":"s","type":"bootstrap.kubernetes.io/token"}}}}`, "spec.output.secret.type"},
		"a Secret without a name":    {minimal + `,"output":{"secret":{"dataKey":"k"}}}}`, "spec.output.secret.name"},
		"a bad data key":             {minimal + `,"output":{"secret":{"name":"s","dataKey":"a/b"}}}}`, "spec.output.secret.dataKey"},
		"a key format nobody knows":  {minimal + `,"output":{"secret":{"name":"s","dataKey":"k","keyFormat":"der"}}}}`, "spec.output.secret.keyFormat"},
		"a chain order nobody knows": {minimal + `,"output":{"secret":{"name":"s","dataKey":"k","chainOrder":"x"}}}}`, "spec.output.secret.chainOrder"},
		"neither object nor data":    {`{"spec":{"vault":{"name":"kv1"}}}`, "spec.data"},
		"both object and data":       {minimal + `,"data":[{"object":{"name":"o","type":"secret"},"dataKey":"k"}]}}`, "spec.data"},
		"data without a data key":    {several(`{"object":{"name":"o","type":"secret"}}`), "spec.data[0].dataKey"},
		"a data key twice":           {several(`{"object":{"name":"o","type":"secret"},"dataKey":"k"},{"object":{"name":"p","type":"secret"},"dataKey":"k"}`), "spec.data[1].dataKey"},
		"a bad data key of data":     {several(`{"object":{"name":"o","type":"secret"},"dataKey":"a/b"}`), "spec.data[0].dataKey"},
		"a data key of many":         {several(`{"object":{"name":"o","type":"multi-key-value-secret","contentType":"application/x-json"},"dataKey":"k"}`), "spec.data[0].dataKey"},
		"data of no type":            {several(`{"object":{"name":"o","type":"x"},"dataKey":"k"}`), "spec.data[0].object.type"},
		"data with a bad transform":  {several(`{"object":{"name":"o","type":"secret"},"dataKey":"k","transform":["x"]}`), "spec.data[0].transform"},
		"data with a transform of the output": {
			strings.TrimSuffix(several(`{"object":{"name":"o","type":"secret"},"dataKey":"k"}`), "}}") + `,"output":{"transform":["trim"]}}}`, "spec.data[].transform"},
		"a search for everything":      {finding(`{"match":{}}`), "spec.dataFrom[0].match"},
		"a prefix and a regexp":        {finding(`{"match":{"prefix":"a","regexp":"b"}}`), "spec.dataFrom[0].match"},
		"no regular expression":        {finding(`{"match":{"prefix":"a"}},{"match":{"regexp":"("}}`), "spec.dataFrom[1].match.regexp"},
		"a look-behind":                {finding(`{"match":{"regexp":"(?<=a)b"}}`), "RE2"},
		"a long regular expression":    {finding(`{"match":{"regexp":"` + strings.Repeat("a", 257) + `"}}`), "spec.dataFrom[0].match.regexp"},
		"a rewrite of nothing":         {finding(`{"match":{"prefix":"a"},"rewrite":{"target":"b"}}`), "spec.dataFrom[0].rewrite.source"},
		"a bad rewrite":                {finding(`{"match":{"prefix":"a"},"rewrite":{"source":"[","target":"b"}}`), "spec.dataFrom[0].rewrite.source"},
		"a bad transform of a search":  {finding(`{"match":{"prefix":"a"},"transform":["x"]}`), "spec.dataFrom[0].transform"},
		"a search and an object":       {minimal + `,"dataFrom":[{"match":{"prefix":"a"}}]}}`, "spec.dataFrom"},
		"a restart of nothing":         {minimal + `,"rolloutRestart":{}}}`, "spec.rolloutRestart"},
		"a restart of both":            {minimal + `,"rolloutRestart":{"auto":true,"workloads":[{"kind":"Deployment","name":"d"}]}}}`, "spec.rolloutRestart"},
		"a restart of a Job":           {minimal + `,"rolloutRestart":{"workloads":[{"kind":"Job","name":"d"}]}}}`, "spec.rolloutRestart.workloads[0].kind"},
		"a restart elsewhere":          {minimal + `,"rolloutRestart":{"workloads":[{"kind":"Deployment","name":"ns/d"}]}}}`, "spec.rolloutRestart.workloads[0].name"},
		"a restart of all":             {minimal + `,"rolloutRestart":{"selector":{}}}}`, "spec.rolloutRestart.selector"},
		"a restart of all, selected":   {minimal + `,"rolloutRestart":{"auto":true,"selector":{"matchLabels":{"a":"b"}}}}}`, "spec.rolloutRestart"},
		"a restart of 21":              {minimal + `,"rolloutRestart":{"workloads":[` + strings.Repeat(`{"kind":"Deployment","name":"d"},`, 20) + `{"kind":"Deployment","name":"d"}]}}}`, "spec.rolloutRestart.workloads"},
		"a label that is none":         {minimal + `,"rolloutRestart":{"selector":{"matchLabels":{"a b":"c"}}}}}`, "spec.rolloutRestart.selector key"},
		"a prefix that is none":        {minimal + `,"rolloutRestart":{"selector":{"matchLabels":{"A/b":"c"}}}}}`, "spec.rolloutRestart.selector key prefix"},
		"a label's value that is none": {minimal + `,"rolloutRestart":{"selector":{"matchLabels":{"a":"b c"}}}}}`, "spec.rolloutRestart.selector value"},
		"no such operator":             {minimal + `,"rolloutRestart":{"selector":{"matchExpressions":[{"key":"a","operator":"Near"}]}}}}`, "use In, NotIn, Exists or DoesNotExist"},
		"In of nothing":                {minimal + `,"rolloutRestart":{"selector":{"matchExpressions":[{"key":"a","operator":"In"}]}}}}`, "needs values"},
		"Exists of values":             {minimal + `,"rolloutRestart":{"selector":{"matchExpressions":[{"key":"a","operator":"Exists","values":["b"]}]}}}}`, "takes no values"},
		"33 values":                    {minimal + `,"rolloutRestart":{"selector":{"matchExpressions":[{"key":"a","operator":"In","values":[` + strings.Repeat(`"b",`, 32) + `"b"]}]}}}}`, "33 elements"},
		"33 expressions":               {minimal + `,"rolloutRestart":{"selector":{"matchExpressions":[` + strings.Repeat(`{"key":"a","operator":"Exists"},`, 32) + `{"key":"a","operator":"Exists"}]}}}}`, "33 elements"},
		"an interval below a second":   {minimal + `,"refreshInterval":"10ms"}}`, "spec.refreshInterval"},
		"an interval above a year":     {minimal + `,"refreshInterval":"8761h"}}`, "spec.refreshInterval"},
		"an interval in the past":      {minimal + `,"refreshInterval":"-1h"}}`, "spec.refreshInterval"},
		"a number of seconds":          {minimal + `,"refreshInterval":30}}`, "spec.refreshInterval"},
		"an interval that is a list":   {minimal + `,"refreshInterval":[]}}`, "spec.refreshInterval"},
		"an interval without a unit":   {minimal + `,"refreshInterval":"30"}}`, "spec.refreshInterval"},
		"a bad ConfigMap name":         {minimal + `,"output":{"configMap":{"name":"S"}}}}`, "spec.output.configMap.name"},
		"a vault of 25 letters":        {long(25, 127, 64, 253), "spec.vault.name"},
		"an object of 128 letters":     {long(24, 128, 64, 253), "spec.vault.object.name"},
		"a version of 65 letters":      {long(24, 127, 65, 253), "spec.vault.object.version"},
		"a data key of 254 letters":    {long(24, 127, 64, 254), "spec.output.secret.dataKey"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := fromapi.Parse([]byte(c.object))
			assert.Equal(t, fault.Invalid, fault.KindOf(err))
			assert.ErrorContains(t, err, c.field)
		})
	}
}

// long has names of these lengths: of the vault, the object, its version and the data key.
func long(vault, object, version, key int) string {
	a := func(n int) string { return strings.Repeat("a", n) }
	return fmt.Sprintf(`{"spec":{"vault":{"name":%q,"object":{"name":%q,"type":"secret","version":%q}},"output":{"secret":{"name":"s","dataKey":%q}}}}`,
		a(vault), a(object), a(version), a(key))
}

func TestParseTakesTheLongestNames(t *testing.T) {
	_, err := fromapi.Parse([]byte(long(24, 127, 64, 253)))
	require.NoError(t, err)
	_, err = fromapi.Parse([]byte(long(3, 1, 0, 0)))
	require.NoError(t, err)
	_, err = fromapi.Parse([]byte(long(2, 1, 0, 0)))
	assert.ErrorContains(t, err, "spec.vault.name")
}

func TestParseReadsTheRefreshInterval(t *testing.T) {
	year, none, short := 8760*time.Hour, time.Duration(0), 90*time.Second
	for text, want := range map[string]*time.Duration{`"8760h"`: &year, `"0"`: &none, `"0s"`: &none, `"1m30s"`: &short, `""`: nil, "null": nil, "0": &none} {
		r, err := fromapi.Parse([]byte(minimal + `,"refreshInterval":` + text + `}}`))
		require.NoError(t, err, text)
		assert.Equal(t, want, r.RefreshInterval, text)
	}
}

func finding(searches string) string {
	return `{"spec":{"vault":{"name":"kv1"},"dataFrom":[` + searches + `]}}`
}

func TestParseReadsWhatIsRestarted(t *testing.T) {
	for text, want := range map[string]recipe.Restart{
		`{"auto":true}`: {Auto: true},
		`{"workloads":[{"kind":"Deployment","name":"d"},{"kind":"StatefulSet","name":"s"},{"kind":"DaemonSet","name":"x"}]}`: {Workloads: []recipe.Workload{
			{Kind: recipe.Deployment, Name: "d"}, {Kind: recipe.StatefulSet, Name: "s"}, {Kind: recipe.DaemonSet, Name: "x"}}},
		`{"workloads":[{"kind":"Rollout","name":"r"}],"selector":{"matchLabels":{"b":"","example.org/a":"x"},"matchExpressions":[{"key":"c","operator":"NotIn","values":["d","e"]},{"key":"f","operator":"DoesNotExist"}]}}`: {
			Workloads: []recipe.Workload{{Kind: recipe.Rollout, Name: "r"}},
			Labels: []recipe.LabelCondition{{Key: "b", Operator: recipe.LabelIn, Values: []string{""}}, {Key: "example.org/a", Operator: recipe.LabelIn, Values: []string{"x"}},
				{Key: "c", Operator: recipe.LabelNotIn, Values: []string{"d", "e"}}, {Key: "f", Operator: recipe.LabelDoesNotExist}}},
	} {
		r, err := fromapi.Parse([]byte(minimal + `,"rolloutRestart":` + text + `}}`))
		require.NoError(t, err)
		assert.Equal(t, &want, r.Restart)
	}
}

func TestParseReadsSearches(t *testing.T) {
	r, err := fromapi.Parse([]byte(`{"spec":{"vault":{"name":"kv1"},"data":[{"object":{"name":"o","type":"secret"},"dataKey":"k"}],"dataFrom":[
		{"match":{"prefix":"a-","tags":{"t":"v"}},"rewrite":{"source":"^a-","target":"b"},"transform":["trim"]},{"match":{"regexp":"x$"}},
		{"match":{"tags":{"t":"v"}}}]}}`))
	require.NoError(t, err)
	assert.Empty(t, cmp.Diff(recipe.Recipe{Vault: "kv1", MultipleItems: true, Items: []recipe.Item{{Name: "o", Type: decode.Secret, DataKey: "k"}},
		Searches: []recipe.Search{{Prefix: "a-", Tags: map[string]string{"t": "v"}, Source: "^a-", Target: "b", Transforms: []string{"trim"}}, {Regexp: "x$"},
			{Tags: map[string]string{"t": "v"}}}}, r))
	assert.Equal(t, keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecretList}, r.SecretListRef())
}

func several(items string) string { return `{"spec":{"vault":{"name":"kv1"},"data":[` + items + `]}}` }

func TestParseReadsSeveralObjects(t *testing.T) {
	r, err := fromapi.Parse([]byte(several(`{"object":{"name":"o","type":"secret","version":"1"},"dataKey":"k","transform":["trim"]},` +
		`{"object":{"name":"m","type":"multi-key-value-secret","contentType":"application/x-json"}}],"output":{"secret":{"name":"s"}},"unknown":[`)))
	require.NoError(t, err)
	assert.Empty(t, cmp.Diff(recipe.Recipe{Vault: "kv1", MultipleItems: true, Items: []recipe.Item{
		{Name: "o", Version: "1", Type: decode.Secret, DataKey: "k", Transforms: []string{"trim"}},
		{Name: "m", Type: decode.MultiKey, ContentType: "application/x-json"},
	}, Outputs: []recipe.Output{{Kind: recipe.OutputSecret, Name: "s"}}}, r))
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal + `}}`))
	f.Add([]byte(finding(`{"match":{"regexp":"(a{10}){10}"},"rewrite":{"source":"^(.*)$","target":"$1"}}`)))
	f.Add([]byte(minimal + `,"output":{"secret":{"name":"s","dataKey":"k"},"transform":["trim"]}}}`))
	f.Fuzz(func(t *testing.T, object []byte) {
		var r recipe.Recipe
		var err error
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: 2 * time.Second, Bytes: 8 << 20, PerByte: 2000}, len(object), func() { r, err = fromapi.Parse(object) })
		if err == nil && (r.Vault == "" || len(r.Items)+len(r.Searches) == 0) {
			t.Fatal("a recipe without a vault or an object was accepted")
		}
	})
}
