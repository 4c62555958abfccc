package fileformat_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/recipe/fileformat"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

// bytesOf are texts as values.
func bytesOf(texts map[string]string) map[string][]byte {
	values := map[string][]byte{}
	for key, text := range texts {
		values[key] = []byte(text)
	}
	return values
}

func TestEncode(t *testing.T) {
	cases := map[string]struct {
		format fileformat.Format
		values map[string]string
		want   string
	}{
		"raw keeps every byte":        {fileformat.Raw, map[string]string{"k": "a\x00\xff\r\n"}, "a\x00\xff\r\n"},
		"raw can be empty":            {fileformat.Raw, map[string]string{"k": ""}, ""},
		"json sorts its keys":         {fileformat.JSON, map[string]string{"b": "<&>", "a.b": "ä\n\"\\", "c": `{"x":1}`}, "{\n  \"a.b\": \"ä\\n\\\"\\\\\",\n  \"b\": \"<&>\",\n  \"c\": \"{\\\"x\\\":1}\"\n}\n"},
		"json of nothing":             {fileformat.JSON, nil, "{}\n"},
		"dotenv without quotes":       {fileformat.DotEnv, map[string]string{"B_1": "a/b:c@d=e+f,g%h.i-j_K", "_A": ""}, "B_1=a/b:c@d=e+f,g%h.i-j_K\n_A=\n"},
		"dotenv with single quotes":   {fileformat.DotEnv, map[string]string{"A": "a b\n\t$X `y` \"z\" #\\n !"}, "A='a b\n\t$X `y` \"z\" #\\n !'\n"},
		"dotenv with double quotes":   {fileformat.DotEnv, map[string]string{"A": "it's #1"}, "A=\"it's #1\"\n"},
		"properties escape":           {fileformat.Properties, map[string]string{"a b:c": "  x =:#!\\\t\n\r\f ä€😀\x00~ "}, `a\ b\:c=\ \ x \=\:\#\!\\\t\n\r\f \u00E4\u20AC\uD83D\uDE00\u0000~ ` + "\n"},
		"properties with empty value": {fileformat.Properties, map[string]string{"": "", "a": ""}, "=\na=\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := fileformat.Encode(c.format, bytesOf(c.values))
			require.NoError(t, err)
			assert.Equal(t, c.want, string(got))
		})
	}
}

func TestWhatAFormatCantHoldNamesTheDataKey(t *testing.T) {
	cases := []struct {
		format fileformat.Format
		values map[string]string
		says   string
	}{
		{fileformat.Raw, nil, "and the resource has 0; select one with NAME@azurekeyvault?KEY"},
		{fileformat.Raw, map[string]string{"a": "canary", "b": "canary"}, "and the resource has 2"},
		{fileformat.JSON, map[string]string{"a": "canary\xff"}, `the value of the data key "a" is not UTF-8, which a file of format json can't hold; use a file of its own`},
		{fileformat.Properties, map[string]string{"a": "canary\xff"}, `"a" is not UTF-8`},
		{fileformat.DotEnv, map[string]string{"A": "canary\xff"}, `"A" is not UTF-8`},
		{fileformat.DotEnv, map[string]string{"A": "canary\r\n"}, `"A" has a carriage return`},
		{fileformat.DotEnv, map[string]string{"A": "canary\x00"}, `"A" has a control character`},
		{fileformat.DotEnv, map[string]string{"A": "canary\x1b"}, `"A" has a control character`},
		{fileformat.DotEnv, map[string]string{"A": `canary '"`}, `"A" has single quotes or backslashes`},
		{fileformat.DotEnv, map[string]string{"A": "canary' $"}, "use the format json"},
		{fileformat.DotEnv, map[string]string{"A": "canary' \n"}, "single quotes"},
		{fileformat.DotEnv, map[string]string{"A": `canary \`}, "backslashes"},
		{fileformat.DotEnv, map[string]string{"A": `canary \\ `}, "backslashes"},
		{fileformat.DotEnv, map[string]string{"tls.key": "canary"}, `the data key "tls.key" is not the name of a variable`},
		{fileformat.DotEnv, map[string]string{"1A": "canary"}, "choose a data key of letters, digits and underscores in spec.data"},
		{fileformat.DotEnv, map[string]string{strings.Repeat("x-", 5000): "canary"}, "is not the name of a variable"},
	}
	for _, c := range cases {
		got, err := fileformat.Encode(c.format, bytesOf(c.values))
		require.ErrorContains(t, err, c.says)
		assert.Nil(t, got)
		assert.Equal(t, fault.Invalid, fault.KindOf(err))
		assert.NotContains(t, err.Error(), "canary")
		assert.Less(t, len(err.Error()), 700)
	}
	for _, format := range []fileformat.Format{fileformat.PFX, fileformat.JKS, "", "yaml"} {
		_, err := fileformat.Encode(format, map[string][]byte{"a": []byte("canary")})
		assert.Equal(t, fault.Bug, fault.KindOf(err), format)
	}
}

func TestEachFormatHoldsAValueOrAllOrACertificate(t *testing.T) {
	for _, format := range fileformat.Formats() {
		assert.False(t, format.NeedsPassword() && format.HoldsAllKeys(), format)
	}
	assert.False(t, fileformat.Raw.NeedsPassword() || fileformat.Raw.HoldsAllKeys())
	assert.True(t, fileformat.JKS.NeedsPassword() && fileformat.PFX.NeedsPassword())
	assert.True(t, fileformat.JSON.HoldsAllKeys() && fileformat.DotEnv.HoldsAllKeys() && fileformat.Properties.HoldsAllKeys())
}

// readDotEnv reads a file of Encode by the rules of POSIX shells.
func readDotEnv(content string) (map[string]string, error) {
	values := map[string]string{}
	for content != "" {
		key, rest, ok := strings.Cut(content, "=")
		if !ok {
			return nil, fmt.Errorf("no = in %q", content)
		}
		end := "\n"
		if rest[0] == '\'' || rest[0] == '"' {
			end, rest = rest[:1]+"\n", rest[1:]
			if strings.IndexByte(rest, end[0]) != strings.Index(rest, end) {
				return nil, fmt.Errorf("the first quote does not end the value in %q", rest)
			}
		}
		value, after, ok := strings.Cut(rest, end)
		if !ok || end == "\"\n" && strings.ContainsAny(value, "$`\\\"!") || end == "\n" && strings.ContainsAny(value, " '\"\\$`#&|;<>()*?[]{}~!") {
			return nil, fmt.Errorf("a shell does not read %q as it is", value)
		}
		values[key], content = value, after
	}
	return values, nil
}

// readProperties reads a file of Encode by the rules of java.util.Properties.
func readProperties(content string) (map[string]string, error) {
	values := map[string]string{}
	for line := range strings.Lines(content) {
		line = strings.TrimSuffix(line, "\n")
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "!") {
			return nil, fmt.Errorf("%q is a comment or not ASCII", line)
		}
		var texts [2][]uint16
		at := 0
		for i := 0; i < len(line); i++ {
			c := uint16(line[i])
			switch {
			case line[i] == '\\' && line[i+1] == 'u':
				unit, err := strconv.ParseUint(line[i+2:i+6], 16, 16)
				if err != nil {
					return nil, err
				}
				c, i = uint16(unit), i+5
			case line[i] == '\\':
				i++
				c = uint16(line[i])
				if at := strings.IndexByte("tnrf", line[i]); at >= 0 {
					c = uint16("\t\n\r\f"[at])
				}
			case at == 0 && strings.IndexByte("=: \t", line[i]) >= 0:
				if line[i] != '=' || strings.HasPrefix(line[i+1:], " ") {
					return nil, fmt.Errorf("%q has another end of its key, or a blank that is lost", line)
				}
				at = 1
				continue
			}
			texts[at] = append(texts[at], c)
		}
		values[string(utf16.Decode(texts[0]))] = string(utf16.Decode(texts[1]))
	}
	return values, nil
}

func FuzzEncode(f *testing.F) {
	for _, seed := range hardTexts() {
		f.Add("KEY", seed, "other", seed)
	}
	f.Add(" key=:\\", "\xff", "\U0010ffff", "'\"\\")
	f.Fuzz(func(t *testing.T, key, value, otherKey, otherValue string) {
		values := map[string]string{key: value, otherKey: otherValue}
		size := len(key) + len(value) + len(otherKey) + len(otherValue)
		for format, readBack := range map[fileformat.Format]func(string) (map[string]string, error){
			fileformat.DotEnv: readDotEnv, fileformat.Properties: readProperties,
			fileformat.JSON: func(content string) (read map[string]string, err error) {
				return read, json.Unmarshal([]byte(content), &read)
			},
		} {
			var content []byte
			var err error
			fuzzbudget.Check(t, fuzzbudget.Budget{Time: time.Second, Bytes: 1 << 20, PerByte: 200}, size, func() {
				content, err = fileformat.Encode(format, bytesOf(values))
			})
			if err != nil {
				if fault.KindOf(err) != fault.Invalid || content != nil || len(err.Error()) > 4000 || !utf8.ValidString(err.Error()) {
					t.Fatalf("%s: %v", format, err)
				}
				continue
			}
			if !utf8.ValidString(key) || !utf8.ValidString(otherKey) {
				continue // Kubernetes has no such data keys
			}
			read, err := readBack(string(content))
			if err != nil || !maps.Equal(read, values) {
				t.Fatalf("%s: %q is read as %q (%v), and was %q", format, content, read, err, values)
			}
		}
	})
}
