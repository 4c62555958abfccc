//go:build cluster

package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// resources asks the real API server, in every version; refusals have to name the field.
func resources(t *testing.T) {
	tm := newTeam(t)
	vault := func(name string) string {
		return "{vault: {name: " + name + ", object: {name: o, type: secret}}}"
	}
	object := func(object string) string { return "{vault: {name: kv1, object: " + object + "}}" }
	output := func(output string) string {
		return "{vault: {name: kv1, object: {name: o, type: secret}}, output: " + output + "}"
	}
	several := func(items string) string { return "{vault: {name: kv1}, data: " + items + "}" }
	for name, c := range map[string]struct {
		spec  string
		field string // empty: accepted
		only  string // a version, if the others differ
	}{
		"the least":                   {spec: vault("kv1")},
		"a long vault name":           {spec: vault("a23456789-123456789-1234")},
		"a vault with a domain":       {spec: vault("kv1.vault.azure.net"), field: "spec.vault.name"},
		"a vault with a slash":        {spec: vault("kv1/x"), field: "spec.vault.name"},
		"a vault URL":                 {spec: vault(`"https://kv1.vault.azure.net"`), field: "spec.vault.name"},
		"a vault with a fragment":     {spec: vault(`"evil#x"`), field: "spec.vault.name"},
		"a vault with an at sign":     {spec: vault(`"a@evil"`), field: "spec.vault.name"},
		"a vault with two hyphens":    {spec: vault("a--b"), field: "spec.vault.name"},
		"a vault that is too short":   {spec: vault("kv"), field: "spec.vault.name"},
		"a vault that is too long":    {spec: vault("a23456789-123456789-12345"), field: "spec.vault.name"},
		"a vault that begins wrongly": {spec: vault(`"1kv"`), field: "spec.vault.name"},
		"no vault":                    {spec: "{}", field: "spec.vault"},
		"no vault name":               {spec: "{vault: {object: {name: o, type: secret}}}", field: "spec.vault.name"},
		"no object":                   {spec: "{vault: {name: kv1}}", field: "vault.object"},
		"no object name":              {spec: object("{type: secret}"), field: "spec.vault.object.name"},
		"an object with a slash":      {spec: object("{name: a/b, type: secret}"), field: "spec.vault.object.name"},
		"an object with a query":      {spec: object(`{name: "a?b", type: secret}`), field: "spec.vault.object.name"},
		"no object type":              {spec: object("{name: o}"), field: "spec.vault.object.type"},
		"an unknown object type":      {spec: object("{name: o, type: password}"), field: "spec.vault.object.type"},
		"every object type":           {spec: object("{name: o, type: certificate}")},
		"a version":                   {spec: object("{name: o, type: secret, version: 0123456789abcdef0123456789abcdef}")},
		"a version with a slash":      {spec: object(`{name: o, type: secret, version: "../x"}`), field: "spec.vault.object.version"},
		"multi-key with content type": {spec: object("{name: o, type: multi-key-value-secret, contentType: application/x-yaml}")},
		"multi-key without":           {spec: object("{name: o, type: multi-key-value-secret}"), field: "spec.vault.object.contentType"},
		"an unknown content type":     {spec: object("{name: o, type: secret, contentType: text/plain}"), field: "spec.vault.object.contentType"},
		"an identity":                 {spec: "{vault: {name: kv1, azureIdentity: {name: sa}, object: {name: o, type: secret}}}"},
		"a Secret":                    {spec: output("{secret: {name: s, dataKey: k, type: Opaque}}")},
		"a ConfigMap":                 {spec: output("{configMap: {name: s, dataKey: k}}")},
		"a Secret without a name":     {spec: output("{secret: {dataKey: k}}"), field: "spec.output.secret.name"},
		"a Secret with a bad name":    {spec: output("{secret: {name: A_b, dataKey: k}}"), field: "spec.output.secret.name"},
		"a bad data key":              {spec: output(`{secret: {name: s, dataKey: "a b"}}`), field: "spec.output.secret.dataKey"},
		"a service-account token":     {spec: output("{secret: {name: s, dataKey: k, type: kubernetes.io/service-account-token}}"), field: "spec.output.secret.type"},
		"a bootstrap token":           {spec: output("{secret: {name: s, dataKey: k, type: bootstrap.kubernetes.io/token}}"), field: "spec.output.secret.type"},
		"an unknown chain order":      {spec: output("{secret: {name: s, dataKey: k, chainOrder: backwards}}"), field: "spec.output.secret.chainOrder"},
		"a key format":                {spec: output("{secret: {name: s, dataKey: k, keyFormat: jwk}, configMap: {name: c, dataKey: k, keyFormat: pem}}")},
		"an unknown key format":       {spec: output("{secret: {name: s, dataKey: k, keyFormat: der}}"), field: "spec.output.secret.keyFormat"},
		"metadata, immutable":         {spec: output("{secret: {name: s, dataKey: k, immutable: true, metadata: {labels: {a: b}, annotations: {c: d}}}}")},
		"several objects":             {spec: several("[{object: {name: o, type: secret}, dataKey: k, transform: [trim]}, {object: {name: m, type: multi-key-value-secret, contentType: application/x-json}}]")},
		"several and one":             {spec: "{vault: {name: kv1, object: {name: o, type: secret}}, data: [{object: {name: o, type: secret}, dataKey: k}]}", field: "spec.data"},
		"several of none":             {spec: several("[]"), field: "spec.data"},
		"several without a data key":  {spec: several("[{object: {name: o, type: secret}}]"), field: "spec.data[0].dataKey"},
		"a data key of many entries":  {spec: several("[{object: {name: o, type: multi-key-value-secret, contentType: application/x-json}, dataKey: k}]"), field: "spec.data[0].dataKey"},
		"several with one transform":  {spec: "{vault: {name: kv1}, data: [{object: {name: o, type: secret}, dataKey: k}], output: {transform: [trim]}}", field: "spec.output"},
		"a search":                    {spec: "{vault: {name: kv1}, dataFrom: [{match: {prefix: a, tags: {t: v}}, rewrite: {source: '^a', target: ''}, transform: [trim]}, {match: {regexp: 'b$'}}]}"},
		"a search besides data":       {spec: "{vault: {name: kv1}, data: [{object: {name: o, type: secret}, dataKey: k}], dataFrom: [{match: {prefix: a}}]}"},
		"a search of everything":      {spec: "{vault: {name: kv1}, dataFrom: [{match: {}}]}", field: "spec.dataFrom[0].match"},
		"a search of two kinds":       {spec: "{vault: {name: kv1}, dataFrom: [{match: {prefix: a, regexp: b}}]}", field: "spec.dataFrom[0].match.regexp"},
		"a search without a match":    {spec: "{vault: {name: kv1}, dataFrom: [{}]}", field: "spec.dataFrom[0].match"},
		"a search and one object":     {spec: "{vault: {name: kv1, object: {name: o, type: secret}}, dataFrom: [{match: {prefix: a}}]}", field: "spec.data"},
		"a restart":                   {spec: "{vault: {name: kv1, object: {name: o, type: secret}}, rolloutRestart: {auto: true}}"},
		"a restart of two":            {spec: "{vault: {name: kv1, object: {name: o, type: secret}}, rolloutRestart: {workloads: [{kind: DaemonSet, name: d}, {kind: StatefulSet, name: s}]}}"},
		"a restart of nothing":        {spec: "{vault: {name: kv1, object: {name: o, type: secret}}, rolloutRestart: {}}", field: "spec.rolloutRestart"},
		"a restart in two ways":       {spec: "{vault: {name: kv1, object: {name: o, type: secret}}, rolloutRestart: {auto: true, workloads: [{kind: DaemonSet, name: d}]}}", field: "spec.rolloutRestart"},
		"a restart of a Job":          {spec: "{vault: {name: kv1, object: {name: o, type: secret}}, rolloutRestart: {workloads: [{kind: Job, name: d}]}}", field: "spec.rolloutRestart.workloads[0].kind"},
		"a restart by labels":         {spec: "{vault: {name: kv1, object: {name: o, type: secret}}, rolloutRestart: {workloads: [{kind: Rollout, name: r}], selector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: Exists}]}}}"},
		"a restart of every label":    {spec: "{vault: {name: kv1, object: {name: o, type: secret}}, rolloutRestart: {selector: {}}}", field: "spec.rolloutRestart.selector"},
		"In without values":           {spec: "{vault: {name: kv1, object: {name: o, type: secret}}, rolloutRestart: {selector: {matchExpressions: [{key: c, operator: In}]}}}", field: "spec.rolloutRestart.selector.matchExpressions[0].values"},
		"an interval":                 {spec: "{vault: {name: kv1, object: {name: o, type: secret}}, refreshInterval: 1h30m}"},
		"no interval at all":          {spec: `{vault: {name: kv1, object: {name: o, type: secret}}, refreshInterval: "0"}`},
		"a number that is none":       {spec: `{vault: {name: kv1, object: {name: o, type: secret}}, refreshInterval: 0}`},
		"a number of seconds":         {spec: `{vault: {name: kv1, object: {name: o, type: secret}}, refreshInterval: 30}`, field: "spec.refreshInterval"},
		"an interval that is short":   {spec: "{vault: {name: kv1, object: {name: o, type: secret}}, refreshInterval: 999ms}", field: "spec.refreshInterval"},
		"an interval that is long":    {spec: "{vault: {name: kv1, object: {name: o, type: secret}}, refreshInterval: 8761h}", field: "spec.refreshInterval"},
		"an interval of words":        {spec: "{vault: {name: kv1, object: {name: o, type: secret}}, refreshInterval: daily}", field: "spec.refreshInterval"},
		"transform":                   {spec: output("{transform: [trim, base64decode], secret: {name: s, dataKey: k}}")},
		"the old spelling":            {spec: output("{transforms: [trim], secret: {name: s, dataKey: k}}")},
		"both spellings":              {spec: output("{transform: [trim], transforms: [trim]}"), field: "spec.output.transforms"},
		"an unknown transform":        {spec: output("{transform: [rot13]}"), field: "spec.output.transform[0]"},
		"too many transforms":         {spec: output("{transform: [" + strings.Repeat("trim,", 17) + "]}"), field: "spec.output.transform"},
		"a field that does not exist": {spec: "{vault: {name: kv1, object: {name: o, type: secret}}, outputs: {}}", field: "spec.outputs"},
	} {
		for _, version := range []string{"v1alpha1", "v1", "v2alpha1", "v2beta1"} {
			var spec map[string]any
			require.NoError(t, yaml.Unmarshal([]byte(c.spec), &spec), name)
			r := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "spv.no/" + version, "kind": "AzureKeyVaultSecret", "spec": spec}}
			r.SetNamespace(tm.namespace)
			r.SetName("tried")
			err := client.NewDryRunClient(client.WithFieldValidation(s.Client, "Strict")).Create(t.Context(), r)
			if c.field == "" {
				assert.NoError(t, err, "%s in %s", name, version)
				continue
			}
			if assert.Error(t, err, "%s in %s", name, version) {
				assert.Contains(t, err.Error(), c.field, "%s in %s: the refusal names the field", name, version)
			}
		}
	}
}
