package envref

import (
	"iter"
	"math"
	"strings"
)

// Piece is a part of a text in which the kubelet expands $(NAME): plain text, an escaped dollar, or a name.
type Piece struct {
	// Text as written.
	Text string
	// Name is set if the piece is $(NAME).
	Name string
	// Escape says that the piece is $$, which stands for one dollar.
	Escape bool
}

// Pieces cuts a text by the kubelet's rules: $$ is an escaped dollar, $(NAME) a name, and any other dollar is text. It
// makes no list of them: a text can have as many pieces as bytes. The time grows with the length of the text alone,
// however many $( have no end.
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
					i++ // as the kubelet, which takes an open $( for text
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

// pieceAt is the piece that begins with the dollar at a place, if one does. Behind lastEnd there is no closing
// parenthesis.
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

// Expand does to a text what the kubelet does: names that lookup knows become their values, others stay as written.
func Expand(text string, lookup func(name string) (string, bool)) string {
	expanded, _ := ExpandWithin(text, math.MaxInt, lookup)
	return expanded
}

// ExpandWithin is Expand as long as the result has at most so many bytes; otherwise it gives up before it is longer,
// and says false.
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

// Escape doubles every dollar, so that the kubelet's expansion gives the text as it is.
func Escape(text string) string { return strings.ReplaceAll(text, "$", "$$") }
