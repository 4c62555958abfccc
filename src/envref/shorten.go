package envref

import (
	"strings"
	"unicode/utf8"
)

// cut marks where a text was shortened. A reference can't contain it.
const cut = "\n"

// Shorten replaces a text that is too long for a reference by a short text that the functions of this package classify
// in the same way, with any text before and after it. A text that can be a part of a reference stays unchanged. Shorten
// limits the size of texts that are expanded into each other. Texts are UTF-8, as in Kubernetes.
func Shorten(text string) string {
	if len(text) <= maxLength {
		return text
	}
	text = compact(text)
	if len(strings.TrimFunc(text, isBlank)) <= maxLength { // it can be a part of a reference
		return text
	}
	text = folded(text)
	end := len(strings.TrimRightFunc(text, isAround))
	middle := cut
	if strings.Contains(text, marker+"?") {
		middle = cut + marker + "?" + cut
	}
	// The other part of a marker can come before or after the text.
	return head(text) + middle + tail(text[:end]) + text[end:]
}

// compact replaces each run of blanks by one blank. If a text ends with quotes or control characters, they become
// one quote. One character separates two texts as well as many.
func compact(text string) string {
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
	rest := strings.TrimRightFunc(text, isAround)
	if strings.TrimFunc(text[len(rest):], isBlank) != "" {
		return rest + `"`
	}
	return text
}

// head is the start of a text, at most as long as a marker, of whole characters.
func head(text string) string {
	end := min(len(marker), len(text))
	for end > 0 && end < len(text) && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// tail is the end of a text, at most as long as a marker, of whole characters.
func tail(text string) string {
	from := max(len(text)-len(marker), 0)
	for from < len(text) && !utf8.RuneStart(text[from]) {
		from++
	}
	return text[from:]
}
