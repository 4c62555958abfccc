package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Format is a form of the report.
type Format string

// The formats. Table has a line for each finding below the heading of its category, Short only lines of what is not ok.
const (
	Table Format = "table"
	Short Format = "short"
	JSON  Format = "json"
)

// Formats returns all formats.
func Formats() []Format { return []Format{Table, Short, JSON} }

// Write writes the findings. Their order must keep categories together.
func Write(out io.Writer, format Format, findings []Finding) error {
	if format == JSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		if findings == nil {
			findings = []Finding{}
		}
		return encoder.Encode(struct {
			Status   Severity  `json:"status"`
			Findings []Finding `json:"findings"`
		}{Worst(findings), findings})
	}
	var text strings.Builder
	category := ""
	for _, f := range findings {
		if format == Short && f.Severity == OK {
			continue
		}
		if f.Category != category {
			if category != "" {
				text.WriteString("\n")
			}
			category = f.Category
			text.WriteString(category + "\n" + strings.Repeat("-", len(category)) + "\n")
		}
		_ = f.WriteText(&text) // a builder does not fail
	}
	if text.Len() > 0 {
		text.WriteString("\n")
	}
	text.WriteString(summary(findings) + "\n")
	_, err := io.WriteString(out, text.String())
	return err
}

// symbols are the beginnings of lines. They are ASCII, so that every terminal and log shows them.
func symbols() map[Severity]string {
	return map[Severity]string{OK: "ok  ", Skipped: "skip", Warning: "WARN", Error: "FAIL"}
}

// WriteText writes the finding for people: a line for what was found, and an indented one for each of the hints.
func (f Finding) WriteText(out io.Writer) error {
	var text strings.Builder
	what := f.What
	if f.Object != "" {
		what = f.Object + ": " + what
	}
	if f.Severity == Skipped {
		what = "not checked: " + f.Check + ": " + what
	}
	fmt.Fprintf(&text, "%s  %s\n", symbols()[f.Severity], oneLine(what))
	if f.Severity != OK && f.Severity != Skipped {
		fmt.Fprintf(&text, "      check: %s\n", oneLine(f.Check))
	}
	for _, hint := range []struct{ name, text string }{{"why", f.Why}, {"try", f.Try}, {"run", f.Command}} {
		if hint.text != "" && f.Severity != Skipped {
			fmt.Fprintf(&text, "      %s: %s\n", hint.name, oneLine(hint.text))
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// oneLine removes line breaks and control characters, which messages of other programs can have.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
}

// summary counts the findings by severity.
func summary(findings []Finding) string {
	counts := map[Severity]int{}
	for _, f := range findings {
		counts[f.Severity]++
	}
	text := fmt.Sprintf("Status: %s (errors: %d, warnings: %d, skipped: %d, ok: %d)", Worst(findings), counts[Error],
		counts[Warning], counts[Skipped], counts[OK])
	if counts[Skipped] > 0 && counts[Error]+counts[Warning] == 0 {
		text += "; the skipped checks need more rights"
	}
	return text
}
