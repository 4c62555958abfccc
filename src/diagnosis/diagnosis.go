package diagnosis

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// Source is the system that answered.
type Source string

// The sources, in the order of the page. Between is a proxy, firewall or gateway that answered in place of the
// requested service. Network means that there was no answer.
const (
	Vault        Source = "Key Vault"
	Entra        Source = "Entra ID"
	Metadata     Source = "Instance metadata service"
	Intermediary Source = "Something in between"
	Network      Source = "No answer"
	Registry     Source = "Image registry"
)

// Answer is one row of the table: an answer of a source and its meaning.
type Answer struct {
	Source Source
	// Status is an HTTP status ("403"), a class of statuses ("5xx"), or empty for any.
	Status string
	// Code is the error code of the source, or empty for any.
	Code string
	// Kind of the error.
	Kind fault.Kind
	// Cause says what went wrong, and Next what to do. Words in braces are placeholders: {host}, {status}, {code} and
	// the facts of the caller.
	Cause, Next string
}

// Facts are the values of placeholders, by name without braces: host, zone (the private DNS zone of vaults), kind,
// other, role, permission and principal for answers of a vault; tenant and variable for a sign-in; limit and proxy;
// registry; and hint, blank and via, which are empty if they are missing.
type Facts map[string]string

// Answers returns all rows, by source.
func Answers() []Answer {
	return slices.Concat(vaultAnswers(), entraAnswers(), metadataAnswers(), intermediaryAnswers(), networkAnswers(),
		registryAnswers())
}

// Explained is the cause in an error of Explain. Programs that know more than its text says, such as the command that
// grants a role, find out from it which answer it was.
type Explained struct {
	// Source, Status and Code are those of the answer; Status and Code can be empty.
	Source Source
	Status int
	Code   string
	// Facts are those of the caller.
	Facts Facts
	text  string
}

// Error implements error.
func (e *Explained) Error() string { return e.text }

// Explain returns the error of the row that matches an answer best: a code is more exact than a status, and a status
// more exact than a class of statuses. The caller sets Doing.
func Explain(source Source, status int, code string, facts Facts) *fault.Error {
	var best Answer
	most := -1
	for _, a := range Answers() {
		if fits := a.matchScore(source, status, code); fits > most {
			best, most = a, fits
		}
	}
	words := []string{"{status}", strconv.Itoa(status), "{code}", code}
	for name, word := range facts {
		words = append(words, "{"+name+"}", word)
	}
	for _, optional := range []string{"hint", "blank", "via"} { // the first pair of a name counts
		words = append(words, "{"+optional+"}", "")
	}
	fill := strings.NewReplacer(words...)
	return &fault.Error{Kind: best.Kind,
		Cause: &Explained{Source: source, Status: status, Code: code, Facts: maps.Clone(facts),
			text: fill.Replace(best.Cause) + statusSuffix(source, status, code)},
		Next: fill.Replace(best.Next)}
}

// matchScore returns how exactly a row matches an answer; -1 if it does not.
func (a Answer) matchScore(source Source, status int, code string) int {
	if a.Source != source || (a.Code != "" && a.Code != code) {
		return -1
	}
	exact, class := strconv.Itoa(status), strconv.Itoa(status/100)+"xx"
	points := 0
	switch a.Status {
	case "":
	case exact:
		points = 2
	case class:
		points = 1
	default:
		return -1
	}
	if a.Code != "" {
		points += 3
	}
	return points
}

// statusSuffix returns the status and code of the answer in parentheses, so that the user can look them up.
func statusSuffix(source Source, status int, code string) string {
	switch {
	case source == Network, source == Registry, status == 0:
		return ""
	case slices.Contains(ownCodes(), code):
		return " (" + strconv.Itoa(status) + ")"
	case source == Entra && code != "":
		return " (" + code + ")"
	case code == "" || source != Vault:
		return " (" + strconv.Itoa(status) + ")"
	}
	return " (" + strconv.Itoa(status) + " " + code + ")"
}

// ownCodes returns the codes that this package defines. No source sends them.
func ownCodes() []string { return []string{OtherType, NoSuchVault, ManyIdentities, NotJSON, TooLarge} }

// HasCode reports whether the source has a row for exactly that code.
func HasCode(source Source, code string) bool {
	return slices.ContainsFunc(Answers(),
		func(a Answer) bool { return a.Source == source && a.Code == code && code != "" })
}
