package schema_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/akv2k8s/akv2k8s/src/convert/schema"
)

func check(t *testing.T, content string) []string {
	t.Helper()
	validator, err := schema.Current()
	require.NoError(t, err)
	var resource map[string]any
	require.NoError(t, utiljson.Unmarshal([]byte(content), &resource))
	return validator.Check(t.Context(), resource)
}

func TestResourcesAreCheckedAsByTheAPIServer(t *testing.T) {
	const head = `{"apiVersion":"spv.no/v2beta1","kind":"AzureKeyVaultSecret","metadata":`
	const spec = `,"spec":{"vault":{"name":"my-vault","object":{"name":"o","type":"secret"}}`
	for name, c := range map[string]struct{ content, says string }{
		"valid":            {head + `{"name":"n","namespace":"ns","labels":{"a":"b"}}` + spec + `,"refreshInterval":0}}`, ""},
		"a rule in CEL":    {head + `{"name":"n"}` + spec + `,"output":{"secret":{"name":"s"}}}}`, "spec.output.secret.dataKey: dataKey is required"},
		"a pattern":        {head + `{"name":"n"}` + spec + `,"output":{"secret":{"name":"S","dataKey":"k"}}}}`, "spec.output.secret.name"},
		"a missing field":  {head + `{"name":"n"},"spec":{}}`, "spec.vault: required value"},
		"a wrong type":     {head + `{"name":"n"},"spec":{"vault":"canary"}}`, "spec.vault"},
		"a wrong name":     {head + `{"name":"N_"}` + spec + `}}`, "metadata.name: a lowercase RFC 1123 subdomain"},
		"no name":          {head + `{}` + spec + `}}`, "metadata.name"},
		"a wrong label":    {head + `{"name":"n","labels":{"a b":"c"}}` + spec + `}}`, "metadata.labels"},
		"wrong annotation": {head + `{"name":"n","annotations":{"a b":"c"}}` + spec + `}}`, "metadata.annotations"},
		"wrong namespace":  {head + `{"name":"n","namespace":"N"}` + spec + `}}`, "metadata.namespace"},
	} {
		problems := check(t, c.content)
		if c.says == "" {
			assert.Empty(t, problems, name)
			continue
		}
		require.NotEmpty(t, problems, name)
		assert.Contains(t, problems[0], c.says, name)
		assert.NotContains(t, problems[0], "canary", name)
	}
}

func TestTheFieldsOfAResourceAreKnown(t *testing.T) {
	validator, err := schema.Current()
	require.NoError(t, err)
	assert.Contains(t, validator.Fields().Properties["spec"].Properties, "dataFrom")
	_, err = schema.New("v3")
	assert.ErrorContains(t, err, `no version "v3"`)
}
