package recipe

import (
	"regexp"
	"regexp/syntax"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Expression is a regular expression (RE2) whose cost is known.
type Expression struct {
	*regexp.Regexp
	// Instructions is the length of the compiled program. Matching takes steps in proportion to it and to the text.
	Instructions int
}

// CompileExpression compiles a regular expression. One that is too expensive is refused before it is compiled: counts
// such as x{100} multiply, so a short text can be a program of millions of instructions. Errors are fault.Invalid.
func CompileExpression(text string) (Expression, error) {
	if len(text) > limits.ExpressionBytes {
		return Expression{}, fault.New(fault.Invalid,
			"the regular expression is longer than %d characters; use a simpler one", limits.ExpressionBytes)
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return Expression{}, fault.New(fault.Invalid, "it is not a regular expression (RE2): %s", err)
	}
	tooExpensive := fault.New(fault.Invalid,
		"the regular expression compiles to more than %d instructions; use fewer or smaller counts, such as + in "+
			"place of {1,100}",
		limits.ExpressionProgram)
	if estimate(tree) > limits.ExpressionProgram {
		return Expression{}, tooExpensive
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil || len(program.Inst) > limits.ExpressionProgram {
		return Expression{}, tooExpensive
	}
	compiled, err := regexp.Compile(text)
	if err != nil {
		return Expression{}, fault.New(fault.Invalid, "it is not a regular expression (RE2): %s", err)
	}
	return Expression{compiled, len(program.Inst)}, nil
}

// estimate is a lower bound of the instructions, never more than a little over the limit.
func estimate(tree *syntax.Regexp) int {
	sum := 1
	if tree.Op == syntax.OpLiteral {
		sum = len(tree.Rune)
	}
	for _, sub := range tree.Sub {
		if sum += estimate(sub); sum > limits.ExpressionProgram {
			return sum
		}
	}
	if tree.Op == syntax.OpRepeat {
		sum *= max(tree.Min, tree.Max, 1)
	}
	return min(sum, limits.ExpressionProgram+1)
}
