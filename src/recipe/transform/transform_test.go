package transform_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/recipe/transform"
)

func TestApply(t *testing.T) {
	cases := map[string]struct {
		names    []string
		in, want string
	}{
		"no transform keeps the value":         {nil, " a ", " a "},
		"trim removes surrounding white space": {[]string{"trim"}, "\n a b\t\r\n", "a b"},
		"base64encode":                         {[]string{"base64encode"}, "hello", "aGVsbG8="},
		"base64decode":                         {[]string{"base64decode"}, "aGVsbG8=", "hello"},
		"base64decode gives binary values":     {[]string{"base64decode"}, "AAH/", "\x00\x01\xff"},
		"in the order they are written":        {[]string{"trim", "base64decode", "trim"}, " IGEg\n", "a"},
		"the empty value":                      {[]string{"trim", "base64decode", "base64encode"}, "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := transform.Apply(c.names, []byte(c.in))
			require.NoError(t, err)
			assert.Equal(t, c.want, string(got))
		})
	}
}

func TestApplyRefuses(t *testing.T) {
	_, err := transform.Apply([]string{"rot13"}, []byte("x"))
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.False(t, transform.Known("rot13"))
	assert.True(t, transform.Known("trim"))
	_, err = transform.Apply([]string{"base64decode"}, []byte("canary 11 !"))
	assert.Equal(t, fault.Malformed, fault.KindOf(err))
	assert.NotContains(t, err.Error(), "canary")
}
