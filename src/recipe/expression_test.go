package recipe_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

func TestExpressionsAreMeasured(t *testing.T) {
	e, err := recipe.CompileExpression("^shop-(.*)$")
	require.NoError(t, err)
	assert.True(t, e.MatchString("shop-db"))
	assert.Greater(t, e.Instructions, 5)
	assert.Less(t, e.Instructions, 30)
	for text, says := range map[string]string{
		"(": "RE2", "(?<=a)b": "RE2", "a{1001}": "RE2", strings.Repeat("a", limits.ExpressionBytes+1): "longer than 256",
		"a{300}": "256 instructions", "(a{20}){20}": "256 instructions", "(?:a??|bc){70}": "256 instructions", "[a-z]{0,200}x{0,100}": "256 instructions", strings.Repeat("(a)", 85): "256 instructions",
		strings.Repeat("a", limits.ExpressionBytes): "256 instructions",
	} {
		_, err := recipe.CompileExpression(text)
		assert.Equal(t, fault.Invalid, fault.KindOf(err), text)
		assert.ErrorContains(t, err, says, text)
	}
}

func TestAnExpressionThatIsTooExpensiveIsRefusedBeforeItIsCompiled(t *testing.T) {
	for _, text := range []string{strings.Repeat("a{1000}", 36), strings.Repeat("(?:bc?){500}", 20)} {
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: 10 * time.Second, Bytes: 128 << 10}, len(text), func() {
			_, err := recipe.CompileExpression(text)
			assert.Error(t, err)
		})
	}
}

// FuzzCompileExpression checks that accepted programs are small, and that rejecting an expression is cheap.
func FuzzCompileExpression(f *testing.F) {
	for _, seed := range []string{"^a(.*)$", "(a{10}){10}", `\pL{100}`, "(?i)[^a-z]|x*?", "((((((((x{2}){2}){2}){2}){2}){2}){2}){2}){2}", "a|b|c|d", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var e recipe.Expression
		var err error
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: time.Second, Bytes: 8 << 20, PerByte: 1000}, len(text), func() { e, err = recipe.CompileExpression(text) })
		allocations := testing.AllocsPerRun(1, func() { e, err = recipe.CompileExpression(text) })
		if allocations > 20_000 {
			t.Fatalf("%d bytes of text take %.0f allocations", len(text), allocations)
		}
		if err == nil && (e.Instructions > limits.ExpressionInstructions || len(text) > limits.ExpressionBytes) {
			t.Fatalf("%q has %d instructions", text, e.Instructions)
		}
	})
}
