package recipe

import (
	"regexp"
	"regexp/syntax"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Expression is a compiled regular expression (RE2) with its cost.
type Expression struct {
	*regexp.Regexp
	// Instructions is the length of the compiled program. The cost of a match is proportional to it and to the text.
	Instructions int
}

// CompileExpression compiles a regular expression. It rejects an expression of more than limits.ExpressionProgram
// instructions before compiling it: nested counts such as (x{100}){100} multiply, so a short text can become a program
// of millions of instructions. Errors are fault.Invalid.
func CompileExpression(text string) (Expression, error) {
	if len(text) > limits.ExpressionBytes {
		return Expression{}, fault.New(fault.Invalid,
			"the regular expression is longer than %d characters; use a simpler one", limits.ExpressionBytes)
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return Expression{}, fault.New(fault.Invalid, "the text is not a regular expression (RE2): %s", err)
	}
	tooExpensive := fault.New(fault.Invalid,
		"the regular expression compiles to more than %d instructions; use fewer or smaller counts, such as + in "+
			"place of {1,100}",
		limits.ExpressionInstructions)
	if estimateProgramSize(tree) > limits.ExpressionInstructions {
		return Expression{}, tooExpensive
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil || len(program.Inst) > limits.ExpressionInstructions {
		return Expression{}, tooExpensive
	}
	compiled, err := regexp.Compile(text)
	if err != nil {
		return Expression{}, fault.New(fault.Invalid, "the text is not a regular expression (RE2): %s", err)
	}
	return Expression{compiled, len(program.Inst)}, nil
}

// estimateProgramSize returns a lower bound of the number of instructions, capped at limits.ExpressionProgram + 1.
func estimateProgramSize(tree *syntax.Regexp) int {
	sum := 1
	if tree.Op == syntax.OpLiteral {
		sum = len(tree.Rune)
	}
	for _, sub := range tree.Sub {
		if sum += estimateProgramSize(sub); sum > limits.ExpressionInstructions {
			return sum
		}
	}
	if tree.Op == syntax.OpRepeat {
		sum *= max(tree.Min, tree.Max, 1)
	}
	return min(sum, limits.ExpressionInstructions+1)
}
