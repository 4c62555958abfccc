package fileformat

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// propertiesLine is the line of one property, as java.util.Properties reads it from ISO-8859-1, UTF-8 or any other
// superset of ASCII: all other characters are escaped. Every text can be a key or a value.
func propertiesLine(key, value string) (string, error) {
	var line strings.Builder
	for _, r := range key {
		writeProperty(&line, r, true)
	}
	line.WriteByte('=')
	isLeading := true
	for _, r := range value {
		isLeading = isLeading && r == ' '
		writeProperty(&line, r, isLeading)
	}
	line.WriteByte('\n')
	return line.String(), nil
}

// writeProperty writes a character. Blanks are escaped in keys and at the beginning of values.
func writeProperty(line *strings.Builder, r rune, escapeBlank bool) {
	short := strings.IndexRune("\t\n\r\f", r)
	switch {
	case short >= 0:
		line.WriteByte('\\')
		line.WriteByte("tnrf"[short])
	case r == ' ' && escapeBlank, strings.ContainsRune(`\=:#!`, r):
		line.WriteByte('\\')
		line.WriteRune(r)
	case r < ' ' || r > '~':
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(line, `\u%04X`, unit)
		}
	default:
		line.WriteRune(r)
	}
}
