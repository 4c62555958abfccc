package envref

import (
	"iter"
	"math"
	"strings"
)

// Piece is a part of a text in which the kubelet expands $(NAME): plain text, an escaped dollar sign, or a name.
type Piece struct {
	// Text is the piece as written.
	Text string
	// Name is set if the piece is $(NAME).
	Name string
	// Escape is set if the piece is $$, which becomes one dollar sign.
	Escape bool
}

// Pieces splits a text by the kubelet's rules: $$ is an escaped dollar sign, $(NAME) a name, and any other dollar sign
// is text. It is an iterator, because a text can have as many pieces as bytes. The time is linear in the length of the
// text, even if many $( are not closed.
func Pieces(text string) iter.Seq[Piece] {
	return func(yield func(Piece) bool) {
		plain, lastEnd := 0, strings.LastIndexByte(text, ')')
		for i := 0; i+1 < len(text); i++ {
			if text[i] != '$' {
				continue
			}
			piece, ok := pieceAt(text, i, lastEnd)
			if !ok {
				if text[i+1] == '(' {
					i++ // for the kubelet, an unclosed $( is text
				}
				continue
			}
			if plain < i && !yield(Piece{Text: text[plain:i]}) || !yield(piece) {
				return
			}
			plain = i + len(piece.Text)
			i = plain - 1
		}
		if plain < len(text) {
			yield(Piece{Text: text[plain:]})
		}
	}
}

// pieceAt is the piece that begins with the dollar sign at this index, if it is an escape or a name. lastEnd is the
// index of the last closing parenthesis.
func pieceAt(text string, at, lastEnd int) (Piece, bool) {
	switch {
	case text[at+1] == '$':
		return Piece{Text: text[at : at+2], Escape: true}, true
	case text[at+1] == '(' && at+2 <= lastEnd:
		end := strings.IndexByte(text[at+2:], ')')
		return Piece{Text: text[at : at+3+end], Name: text[at+2 : at+2+end]}, true
	}
	return Piece{}, false
}

// Expand expands a text as the kubelet does: names that lookup knows become their values, others stay as written.
func Expand(text string, lookup func(name string) (string, bool)) string {
	expanded, _ := ExpandWithin(text, math.MaxInt, lookup)
	return expanded
}

// ExpandWithin is Expand with a limit of most bytes for the result. If the result would be longer, it stops and returns
// false.
func ExpandWithin(text string, most int, lookup func(name string) (string, bool)) (string, bool) {
	var out strings.Builder
	for piece := range Pieces(text) {
		text := piece.Text
		if piece.Escape {
			text = "$"
		} else if piece.Name != "" {
			if value, ok := lookup(piece.Name); ok {
				text = value
			}
		}
		if len(text) > most-out.Len() {
			return "", false
		}
		out.WriteString(text)
	}
	return out.String(), true
}

// Escape doubles every dollar sign. The kubelet's expansion of the result is the original text.
func Escape(text string) string { return strings.ReplaceAll(text, "$", "$$") }
