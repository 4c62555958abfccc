package transform_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/recipe/transform"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
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
			got, err := transform.Apply(c.names, []byte(c.in), 1<<20)
			require.NoError(t, err)
			assert.Equal(t, c.want, string(got))
		})
	}
}

func TestApplyRefuses(t *testing.T) {
	_, err := transform.Apply([]string{"rot13"}, []byte("x"), 1<<20)
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.False(t, transform.IsKnown("rot13"))
	assert.True(t, transform.IsKnown("trim"))
	_, err = transform.Apply([]string{"base64decode"}, []byte("canary 11 !"), 1<<20)
	assert.Equal(t, fault.Malformed, fault.KindOf(err))
	assert.NotContains(t, err.Error(), "canary")
}

func FuzzApply(f *testing.F) {
	f.Add("aGVsbG8=", uint8(2), uint8(0), uint8(1))
	f.Add(" x\x00\xff ", uint8(1), uint8(2), uint8(2))
	f.Fuzz(func(t *testing.T, value string, a, b, c uint8) {
		known := []string{"trim", "base64encode", "base64decode"}
		var names []string
		for _, n := range []uint8{a, b, c} {
			names = append(names, known[int(n)%len(known)])
		}
		before := value
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: time.Second, Bytes: 1 << 20, PerByte: 50}, len(value), func() {
			many := strings.Split(strings.Repeat("base64encode,", 15)+"base64encode", ",")
			if out, err := transform.Apply(many, []byte(value), 2*len(value)); err == nil && len(out) > 2*len(value) {
				t.Fatal("it is larger than was asked for")
			}
		})
		got, err := transform.Apply(names, []byte(value), 1<<20)
		if err != nil && (fault.KindOf(err) != fault.Malformed || got != nil) {
			t.Fatalf("%v: %v", names, err)
		}
		if value != before {
			t.Fatal("the value was changed in place")
		}
		back, err := transform.Apply([]string{"base64encode", "base64decode"}, []byte(value), 1<<20)
		if err != nil || string(back) != value {
			t.Fatalf("there and back: %q became %q", value, back)
		}
	})
}
