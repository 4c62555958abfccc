package envref

import (
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

// Pieces cuts a text by the kubelet's rules: $$ is an escaped dollar, $(NAME) a name, and any other dollar is text.
func Pieces(text string) []Piece {
	var pieces []Piece
	plain := 0
	add := func(from, to int, p Piece) {
		if plain < from {
			pieces = append(pieces, Piece{Text: text[plain:from]})
		}
		p.Text = text[from:to]
		pieces = append(pieces, p)
		plain = to
	}
	for i := 0; i+1 < len(text); i++ {
		if text[i] != '$' {
			continue
		}
		switch text[i+1] {
		case '$':
			add(i, i+2, Piece{Escape: true})
			i++
		case '(':
			end := strings.IndexByte(text[i+2:], ')')
			if end < 0 {
				i++ // as the kubelet, which takes an open $( for text
				continue
			}
			add(i, i+3+end, Piece{Name: text[i+2 : i+2+end]})
			i += 2 + end
		}
	}
	if plain < len(text) {
		pieces = append(pieces, Piece{Text: text[plain:]})
	}
	return pieces
}

// Expand does to a text what the kubelet does: names that lookup knows become their values, others stay as written.
func Expand(text string, lookup func(name string) (string, bool)) string {
	expanded, _ := ExpandWithin(text, math.MaxInt, lookup)
	return expanded
}

// ExpandWithin is Expand as long as the result has at most so many bytes; otherwise it gives up before it is longer, and says false.
func ExpandWithin(text string, most int, lookup func(name string) (string, bool)) (string, bool) {
	var out strings.Builder
	for _, piece := range Pieces(text) {
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
