package envref_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

func TestWhatIsShortenedIsAReferenceOrNoneAsBefore(t *testing.T) {
	long := strings.Repeat("a", 600)
	for text, meant := range map[string]bool{
		long: false, long + "@azurekeyvault": true, long + "@azurekeyvaults": false, "x@azurekeyvault?" + long: true, long + "@azurekeyvault?" + long: true, "azurekeyvault?" + long: false,
	} {
		short := envref.Shorten(text)
		assert.Less(t, len(short), 64)
		assert.Equal(t, meant, envref.IsIntendedReference(short), "%.30s…", text)
		_, err := envref.Parse(short)
		assert.Error(t, err)
	}
	assert.Equal(t, "db@azurekeyvault?x", envref.Shorten("db@azurekeyvault?x"))
	assert.True(t, envref.IsIntendedReference("@"+envref.Shorten("azurekeyvault?"+long)), "halves of a marker meet")
	assert.True(t, envref.IsIntendedReference(envref.Shorten(long+"@azurekey")+"vault"))
}

func FuzzShorten(f *testing.F) {
	f.Add("db", "@azurekeyvault", "?x", uint16(0))
	f.Add("@azure", "keyvault?", "@azurekeyvault", uint16(600))
	f.Add("@azurekeyvault?", "@azurekeyvault", "vault", uint16(999))
	f.Add("db@AZURE", "\u200bkeyvault", "\n", uint16(600))
	f.Add("db@azurekeyvau", "lt\"\"", "'", uint16(600))
	f.Fuzz(func(t *testing.T, before, text, behind string, filled uint16) {
		if !utf8.ValidString(before + text + behind) { // Kubernetes has no others
			return
		}
		blanks, invisible, quotes := strings.Repeat(" \n", int(filled)), strings.Repeat("\u200b", int(filled)), strings.Repeat(`"`, int(filled))
		for _, text := range []string{blanks + text + blanks, invisible + text + invisible, text + quotes, text + blanks + quotes + invisible, quotes + text, text + blanks + text,
			text + strings.Repeat("x", int(filled)) + text, strings.Repeat("x", int(filled)) + text + strings.Repeat("x", int(filled))} {
			whole, shortened := before+text+behind, ""
			fuzzbudget.Check(t, fuzzbudget.Budget{Time: time.Second, Bytes: 1 << 20, PerByte: 100}, len(text), func() { shortened = before + envref.Shorten(text) + behind })
			if envref.IsIntendedReference(whole) != envref.IsIntendedReference(shortened) {
				t.Fatalf("%q is meant %t, and shortened %q", whole, envref.IsIntendedReference(whole), shortened)
			}
			ref, err := envref.Parse(whole)
			again, errAgain := envref.Parse(shortened)
			if (err == nil) != (errAgain == nil) || ref != again {
				t.Fatalf("%q parses to %v, %v, and shortened to %v, %v", whole, ref, err, again, errAgain)
			}
		}
	})
}
