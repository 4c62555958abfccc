package envref

import (
	"strings"
	"unicode"
)

// The rule for every text that may be a reference, at admission, in the injector, and in policies:
//
//   - Letter case and invisible characters (zero-width, byte-order mark) are ignored when the marker @azurekeyvault is
//     looked for.
//   - A text is meant as a reference if it ends in the marker, not counting blanks, newlines and quotes behind it, or
//     if it has the marker followed by a question mark. It is resolved if it is a reference but for blanks, newlines
//     and invisible characters around it, and refused otherwise.
//   - A text that has the marker elsewhere, or that ends like name@marker with a misspelt marker, is left as it is,
//     with a warning.

// Meant says whether the author of the value must have meant a reference. Such a value is either a valid reference or a
// mistake, never a text for the program.
func Meant(value string) bool {
	if !strings.Contains(value, "@") {
		return false
	}
	value = folded(value)
	return strings.HasSuffix(strings.TrimRightFunc(value, isAround), marker) || strings.Contains(value, marker+"?")
}

// Mentioned says whether a value that is not Meant as a reference deserves a warning: it has the marker somewhere, or
// ends in one that is misspelt.
func Mentioned(value string) bool {
	if !strings.Contains(value, "@") {
		return false
	}
	value = folded(value)
	return strings.Contains(value, marker) || misspelt(value)
}

// isInvisible says whether a character is shown as nothing at all.
func isInvisible(r rune) bool {
	switch r {
	case '\u00ad', '\u200b', '\u200c', '\u200d', '\u2060', '\ufeff':
		return true
	}
	return false
}

// isBlank says whether a character around a reference does not count.
func isBlank(r rune) bool { return unicode.IsSpace(r) || isInvisible(r) || r == 0 }

// isAround says whether a character behind the marker does not make the value a text of another kind.
func isAround(r rune) bool {
	return isBlank(r) || strings.ContainsRune("\"'`", r) || unicode.IsControl(r)
}

// folded is a text without invisible characters and in lower case, as far as letters of the marker are concerned.
// Folding the parts of a text gives the parts of the folded text.
func folded(text string) string {
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
	// longestTypo is the longest text that is compared with the marker.
	longestTypo = 24
	// mostTypos is how many letters may differ: @azure-keyvaults, @azkeyvault and @azurekeyvalut are misspelt,
	// @keycloak is not.
	mostTypos = 3
)

// misspelt says whether a folded text is name@marker, with or without a query, where the marker is almost ours.
func misspelt(text string) bool {
	text = strings.TrimFunc(text, isAround)
	at := strings.LastIndexByte(text, '@')
	if at <= 0 || at > 253 {
		return false
	}
	name, typo := text[:at], text[at+1:]
	if query := strings.IndexByte(typo, '?'); query >= 0 {
		typo = typo[:query]
	}
	if strings.ContainsFunc(name, isNoName) || typo == "" || len(typo) > longestTypo {
		return false
	}
	typo = strings.Map(func(r rune) rune {
		if strings.ContainsRune("-_. ", r) {
			return -1
		}
		return r
	}, typo)
	return typo == "keyvault" || distance(typo, marker[1:]) <= mostTypos
}

func isNoName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-._/", r)
}

// distance is how many letters have to be changed, added or removed to make one text of another.
func distance(a, b string) int {
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
