package envref

import (
	"strings"
	"unicode/utf8"
)

// cut stands where a text was shortened. No reference can hold it.
const cut = "\n"

// Shorten gives a text that is too long for a reference in a few bytes that are as much a reference as it is: whatever
// is put before and behind it, that is Meant as one or not as before, and is none. It bounds what texts come to that
// are made of each other. Texts are UTF-8, as Kubernetes has them.
func Shorten(text string) string {
	if len(text) <= maxLength {
		return text
	}
	text = compact(text)
	if len(strings.TrimFunc(text, isBlank)) <= maxLength { // it may still be a part of a reference
		return text
	}
	text = folded(text)
	end := len(strings.TrimRightFunc(text, isAround))
	middle := cut
	if strings.Contains(text, marker+"?") {
		middle = cut + marker + "?" + cut
	}
	// The rest of a marker may stand before or behind the text.
	return head(text) + middle + tail(text[:end]) + text[end:]
}

// compact keeps one character of each run of blanks, and one of what doesn't count at the end: between two texts it
// parts them as well as many.
func compact(text string) string {
	var out strings.Builder
	run, seen := 0, false // how many blanks, and whether any of them can be seen
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

// head are the first characters of a text, as many as a marker has.
func head(text string) string {
	end := min(len(marker), len(text))
	for end > 0 && end < len(text) && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// tail are the last ones.
func tail(text string) string {
	from := max(len(text)-len(marker), 0)
	for from < len(text) && !utf8.RuneStart(text[from]) {
		from++
	}
	return text[from:]
}
