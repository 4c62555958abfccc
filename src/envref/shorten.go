package envref

import "strings"

// cut stands where a text was shortened. No reference can hold it.
const cut = "\n"

// Shorten gives a text that is too long for a reference in a few bytes that are as much a reference as it is: whatever is put before and behind
// it, that is Meant as one or not as before, and is none. It bounds what texts come to that are made of each other.
func Shorten(text string) string {
	if len(text) <= maxLength {
		return text
	}
	middle := cut
	if strings.Contains(text, marker+"?") {
		middle = cut + marker + "?" + cut
	}
	// The rest of a marker may stand before or behind the text.
	return text[:len(marker)] + middle + text[len(text)-len(marker):]
}
