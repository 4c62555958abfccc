package envref

import (
	"strings"
	"unicode"
)

// The rules for a text that can be a reference, at admission, in the injector, and in policies:
//
//   - The search for the marker @azurekeyvault ignores letter case and invisible characters (zero-width characters,
//     byte-order mark).
//   - A text is meant as a reference if it ends with the marker, ignoring blanks, newlines and quotes after it, or if
//     it contains the marker followed by a question mark. The text is resolved if it is a valid reference, ignoring
//     blanks, newlines and invisible characters around it. Otherwise it is rejected.
//   - A text that contains the marker elsewhere, or that looks like name@marker with a misspelt marker, stays
//     unchanged, with a warning.

// IsIntendedReference reports whether a value is meant as a reference. Such a value is either a valid reference or a
// mistake, never a text for the program.
func IsIntendedReference(value string) bool {
	if !strings.Contains(value, "@") {
		return false
	}
	value = normalizeText(value)
	return strings.HasSuffix(strings.TrimRightFunc(value, isIgnorable), marker) || strings.Contains(value, marker+"?")
}

// NeedsWarning reports whether a value that is not meant as a reference needs a warning: it contains the marker, or
// looks like a reference with a misspelt marker.
func NeedsWarning(value string) bool {
	if !strings.Contains(value, "@") {
		return false
	}
	value = normalizeText(value)
	return strings.Contains(value, marker) || hasMisspeltMarker(value)
}

// isInvisible reports whether a character is displayed as nothing.
func isInvisible(r rune) bool {
	switch r {
	case '\u00ad', '\u200b', '\u200c', '\u200d', '\u2060', '\ufeff':
		return true
	}
	return false
}

// isBlank reports whether a character around a reference is ignored.
func isBlank(r rune) bool { return unicode.IsSpace(r) || isInvisible(r) || r == 0 }

// isIgnorable reports whether a value is still meant as a reference with this character after the marker.
func isIgnorable(r rune) bool {
	return isBlank(r) || strings.ContainsRune("\"'`", r) || unicode.IsControl(r)
}

// normalizeText is a text without invisible characters and with ASCII letters in lower case. The folded parts of a text
// are the parts of the folded text.
func normalizeText(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case isInvisible(r):
			return -1
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		}
		return r
	}, text)
}

const (
	// maxTypoLength is the maximum length of a text that is compared with the marker.
	maxTypoLength = 24
	// maxTypoDistance is the maximum number of different letters: @azure-keyvaults, @azkeyvault and @azurekeyvalut are
	// misspelt markers, @keycloak is not.
	maxTypoDistance = 3
)

// hasMisspeltMarker reports whether a folded text is name@marker, with or without a query, with a marker that is nearly
// correct.
func hasMisspeltMarker(text string) bool {
	text = strings.TrimFunc(text, isIgnorable)
	at := strings.LastIndexByte(text, '@')
	if at <= 0 || at > 253 {
		return false
	}
	name, typo := text[:at], text[at+1:]
	if query := strings.IndexByte(typo, '?'); query >= 0 {
		typo = typo[:query]
	}
	if strings.ContainsFunc(name, isInvalidInName) || typo == "" || len(typo) > maxTypoLength {
		return false
	}
	typo = strings.Map(func(r rune) rune {
		if strings.ContainsRune("-_. ", r) {
			return -1
		}
		return r
	}, typo)
	return typo == "keyvault" || editDistance(typo, marker[1:]) <= maxTypoDistance
}

func isInvalidInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-._/", r)
}

// editDistance is the Levenshtein distance: the number of bytes to change, add or remove to turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
