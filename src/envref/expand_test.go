package envref_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

func lookUpVariable(name string) (string, bool) {
	value, ok := map[string]string{"A": "a", "B": "$(A)", "EMPTY": ""}[name]
	return value, ok
}

func TestExpandDoesWhatTheKubeletDoes(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "plain": "plain", "$(A)": "a", "x$(A)y$(A)": "xaya", "$(B)": "$(A)", "$(EMPTY)": "", "$(NONE)": "$(NONE)", "$$(A)": "$(A)", "$$$(A)": "$a", "$$$$(A)": "$$(A)",
		"$A ${A} $": "$A ${A} $", "$(A": "$(A", "$(": "$(", "$()": "$()", "$($(A))": "$($(A))", "a$$b$$$$c": "a$b$$c", "$x$(A)": "$xa", "ä$(A)ö": "äaö",
	} {
		assert.Equal(t, want, envref.Expand(text, lookUpVariable), text)
		assert.Equal(t, text, envref.Expand(envref.Escape(text), lookUpVariable), "what is escaped comes out as it was")
	}
}

// TestATextIsCutInTheTimeThatItsLengthTakes has a text that once took minutes: for each $( the whole text was searched
// for a parenthesis.
func TestATextIsCutInTheTimeThatItsLengthTakes(t *testing.T) {
	took := func(length int) time.Duration {
		text, least := strings.Repeat("$(", length/2), time.Hour
		for range 3 {
			started, pieces := time.Now(), 0
			for range envref.Pieces(text) {
				pieces++
			}
			assert.Equal(t, 1, pieces)
			least = min(least, time.Since(started))
		}
		return least
	}
	assert.Less(t, took(1<<22), 20*took(1<<20)+time.Millisecond, "four times the text takes about four times as long, not sixteen")
	text := strings.Repeat("$(A)$$", 1000)
	assert.LessOrEqual(t, testing.AllocsPerRun(10, func() {
		for range envref.Pieces(text) {
			continue
		}
	}), 5.0, "no list is made of the pieces")
}

func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"$(A)", "$$(A)$", "$($(A)", "$(A)$$$(B)$(", "$($($(", "$()$"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		whole := ""
		for piece := range envref.Pieces(text) {
			whole += piece.Text
		}
		if whole != text {
			t.Fatalf("the pieces of %q make %q", text, whole)
		}
		var got string
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: time.Second, Bytes: 1 << 20, PerByte: 1000}, len(text), func() { got = envref.Expand(envref.Escape(text), lookUpVariable) })
		if got != text {
			t.Fatalf("escaping and expanding %q gives %q", text, got)
		}
	})
}
