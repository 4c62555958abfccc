package conversion

import (
	"fmt"
	"strings"
)

// Kind is the kind of a finding.
type Kind string

// The kinds of findings.
const (
	// LeftOut is a part of the input without an equal, or data that the output will not have as before.
	LeftOut Kind = "left out"
	// Changed is a part that works in another way afterwards, with the same data.
	Changed Kind = "changed"
	// Note is a step for the user.
	Note Kind = "note"
)

// Finding is what a conversion says about a part of the input. It never has a value that can be secret.
type Finding struct {
	Kind Kind
	// File is the name of the input, Line the line in it.
	File string
	Line int
	// Object is the object, such as "ExternalSecret shop/database".
	Object string
	// Path is the field, such as spec.data[0].remoteRef.property; empty for the whole object.
	Path string
	// Text gives the reason and the next step.
	Text string
}

// String returns the finding as a line of the report.
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Object, f.comment())
}

// comment returns the finding as a comment in the output.
func (f Finding) comment() string {
	if f.Path == "" {
		return fmt.Sprintf("%s: %s", f.Kind, f.Text)
	}
	return fmt.Sprintf("%s: %s: %s", f.Kind, f.Path, f.Text)
}

// commentLines returns texts as the comment of a YAML node.
func commentLines(texts []string) string {
	var lines []string
	for _, text := range texts {
		for line := range strings.Lines(text) {
			lines = append(lines, strings.TrimRight("# "+line, " \n"))
		}
	}
	return strings.Join(lines, "\n")
}
