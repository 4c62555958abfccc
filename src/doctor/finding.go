package doctor

import (
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// Severity is the result of a check.
type Severity string

// The severities, the best first. Skipped means that the user lacks a right that the check needs.
const (
	OK      Severity = "ok"
	Skipped Severity = "skipped"
	Warning Severity = "warning"
	Error   Severity = "error"
)

// Finding is what a check found. It never has a secret value or a token.
type Finding struct {
	// Category is the group of checks, and Check the name of the check.
	Category string `json:"category,omitempty"`
	Check    string `json:"check"`
	// Object is what the finding is about, such as a pod; empty if that is the cluster or the installation.
	Object   string   `json:"object,omitempty"`
	Severity Severity `json:"severity"`
	// What is the state that was found, Why its cause or its effect, and Try the next step. What is never empty.
	What string `json:"what"`
	Why  string `json:"why,omitempty"`
	Try  string `json:"try,omitempty"`
	// Command is a command for a shell that does what Try says; empty if there is none.
	Command string `json:"command,omitempty"`
	// Right is the missing right of a skipped check, such as "list nodes".
	Right string `json:"right,omitempty"`
	// EffectOf are the names of checks. If one of them has an error, it is the cause of this finding, which then is not
	// reported as a fault of its own.
	EffectOf []string `json:"-"`
}

// Passed returns the finding of a check that has nothing to complain about.
func Passed(what string) []Finding { return []Finding{{Severity: OK, What: what}} }

// FromError returns an error finding with the cause and the next step of an error of package fault. In some errors, the
// next step is the part after a semicolon.
func FromError(object string, err error) Finding {
	what, try := fault.CauseOf(err), fault.NextStepOf(err)
	if try == "" {
		what, try, _ = strings.Cut(what, "; ")
	}
	return Finding{Object: object, Severity: Error, What: what, Try: try}
}

// Err returns the finding as an error of package fault with its cause and its next step, for programs that log it.
func (f Finding) Err(kind fault.Kind) error {
	what := f.What
	if f.Why != "" {
		what += ": " + f.Why
	}
	return fault.NewWithNextStep(kind, f.Try, "%s", what)
}

// Right is a permission in the cluster that a check needs.
type Right struct {
	Verb, Group, Resource, Subresource string
	// Name and Namespace restrict the right to an object or a namespace; empty means all.
	Name, Namespace string
}

// String describes the right as kubectl auth can-i takes it, such as "list nodes" or "get secrets/x -n team".
func (r Right) String() string {
	text := r.Verb + " " + r.Resource
	if r.Group != "" {
		text += "." + r.Group
	}
	if r.Name != "" {
		text += "/" + r.Name
	}
	if r.Subresource != "" {
		text += " --subresource=" + r.Subresource
	}
	if r.Namespace != "" {
		return text + " -n " + r.Namespace
	}
	return text
}

// MissingRight returns the finding of a check that needs a right which the user does not have.
func MissingRight(rights ...Right) Finding {
	var texts []string
	for _, right := range rights {
		texts = append(texts, right.String())
	}
	text := strings.Join(texts, ", ")
	return Finding{Severity: Skipped, What: "you don't have the right to " + text, Right: text,
		Try: "ask an administrator of the cluster to run the command, or to grant the right"}
}

// replaceEffects replaces findings that are effects of the errors of other checks.
func replaceEffects(all []Finding) {
	failed := map[string]bool{}
	for _, f := range all {
		if f.Severity == Error {
			failed[f.Check] = true
		}
	}
	for i, f := range all {
		for _, cause := range f.EffectOf {
			if failed[cause] && cause != f.Check && f.Severity != OK {
				all[i] = Finding{Category: f.Category, Check: f.Check, Object: f.Object, Severity: Skipped,
					What: "because this failed: " + cause}
				break
			}
		}
	}
}

// Worst returns the worst severity of some findings; OK if there are none.
func Worst(findings []Finding) Severity {
	rank := map[Severity]int{OK: 0, Skipped: 1, Warning: 2, Error: 3}
	worst := OK
	for _, f := range findings {
		if rank[f.Severity] > rank[worst] {
			worst = f.Severity
		}
	}
	return worst
}
