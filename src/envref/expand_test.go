package envref_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/envref"
)

func lookup(name string) (string, bool) {
	value, ok := map[string]string{"A": "a", "B": "$(A)", "EMPTY": ""}[name]
	return value, ok
}

func TestExpandDoesWhatTheKubeletDoes(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "plain": "plain", "$(A)": "a", "x$(A)y$(A)": "xaya", "$(B)": "$(A)", "$(EMPTY)": "", "$(NONE)": "$(NONE)", "$$(A)": "$(A)", "$$$(A)": "$a", "$$$$(A)": "$$(A)",
		"$A ${A} $": "$A ${A} $", "$(A": "$(A", "$(": "$(", "$()": "$()", "$($(A))": "$($(A))", "a$$b$$$$c": "a$b$$c", "$x$(A)": "$xa", "ä$(A)ö": "äaö",
	} {
		assert.Equal(t, want, envref.Expand(text, lookup), text)
		assert.Equal(t, text, envref.Expand(envref.Escape(text), lookup), "what is escaped comes out as it was")
	}
}

func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"$(A)", "$$(A)$", "$($(A)", "$(A)$$$(B)$("} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		whole := ""
		for _, piece := range envref.Pieces(text) {
			whole += piece.Text
		}
		if whole != text {
			t.Fatalf("the pieces of %q make %q", text, whole)
		}
		if got := envref.Expand(envref.Escape(text), lookup); got != text {
			t.Fatalf("escaping and expanding %q gives %q", text, got)
		}
	})
}
