package envref

import (
	"strings"
	"unicode/utf8"
)

// shortenedMark marks where a text was shortened. A reference can't contain it.
const shortenedMark = "\n"

// Shorten replaces a text that is too long for a reference by a short text that the functions of this package classify
// in the same way, with any text before and after it. A text that can be a part of a reference stays unchanged. Shorten
// limits the size of texts that are expanded into each other. Texts are UTF-8, as in Kubernetes.
func Shorten(text string) string {
	if len(text) <= maxReferenceLength {
		return text
	}
	text = compactBlanks(text)
	if len(strings.TrimFunc(text, isBlank)) <= maxReferenceLength { // it can be a part of a reference
		return text
	}
	text = normalizeText(text)
	end := len(strings.TrimRightFunc(text, isIgnorable))
	middle := shortenedMark
	if strings.Contains(text, marker+"?") {
		middle = shortenedMark + marker + "?" + shortenedMark
	}
	// The other part of a marker can come before or after the text.
	return leadingPart(text) + middle + trailingPart(text[:end]) + text[end:]
}

// compactBlanks replaces each run of blanks by one blank. If a text ends with quotes or control characters, they become
// one quote. One character separates two texts as well as many.
func compactBlanks(text string) string {
	var out strings.Builder
	run, seen := 0, false // the number of blanks, and whether one of them is visible
	flush := func() {
		switch {
		case run > 0 && seen:
			out.WriteByte(' ')
		case run > 0:
			out.WriteString("\u200b")
		}
		run, seen = 0, false
	}
	for _, r := range text {
		if isBlank(r) {
			run, seen = run+1, seen || !isInvisible(r)
			continue
		}
		flush()
		out.WriteRune(r)
	}
	flush()
	text = out.String()
	rest := strings.TrimRightFunc(text, isIgnorable)
	if strings.TrimFunc(text[len(rest):], isBlank) != "" {
		return rest + `"`
	}
	return text
}

// leadingPart is the start of a text, at most as long as a marker, of whole characters.
func leadingPart(text string) string {
	end := min(len(marker), len(text))
	for end > 0 && end < len(text) && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// trailingPart is the end of a text, at most as long as a marker, of whole characters.
func trailingPart(text string) string {
	from := max(len(text)-len(marker), 0)
	for from < len(text) && !utf8.RuneStart(text[from]) {
		from++
	}
	return text[from:]
}
