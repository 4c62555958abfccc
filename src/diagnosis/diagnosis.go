package diagnosis

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// Source is who answered.
type Source string

// The sources, in the order of the page.
const (
	Vault    Source = "Key Vault"
	Entra    Source = "Entra ID"
	Metadata Source = "Instance metadata service"
	Between  Source = "Something in between"
	Network  Source = "No answer"
	Registry Source = "Image registry"
)

// Answer is one row: what a source answers, and what that means.
type Answer struct {
	Source Source
	// Status is an HTTP status ("403"), a class of them ("5xx"), or empty for any.
	Status string
	// Code is the source's own code for the error, or empty for any.
	Code string
	// Kind is what the error is to the product.
	Kind fault.Kind
	// Cause says what went wrong and Next what to do. Words in braces are filled in: {host}, {status}, {code} and the
	// facts of the caller.
	Cause, Next string
}

// Facts are words that rows leave open, by name without braces: host, zone (the private DNS zone of vaults), kind,
// other, role, permission and principal of a vault's answers; tenant and variable of a sign-in; limit and proxy; and,
// each empty unless given, hint, blank and via.
type Facts map[string]string

// Answers are all rows, by source.
func Answers() []Answer {
	return slices.Concat(vaultAnswers(), entraAnswers(), metadataAnswers(), betweenAnswers(), networkAnswers(),
		registryAnswers())
}

// Explain finds the row that fits an answer best, and makes the error of it: a code is more exact than a status, and
// that than a class of statuses. The caller sets Doing.
func Explain(source Source, status int, code string, facts Facts) *fault.Error {
	var best Answer
	most := -1
	for _, a := range Answers() {
		if fits := a.fits(source, status, code); fits > most {
			best, most = a, fits
		}
	}
	words := []string{"{status}", strconv.Itoa(status), "{code}", code}
	for name, word := range facts {
		words = append(words, "{"+name+"}", word)
	}
	for _, optional := range []string{"hint", "blank", "via"} { // the first of two pairs counts
		words = append(words, "{"+optional+"}", "")
	}
	fill := strings.NewReplacer(words...)
	return &fault.Error{Kind: best.Kind, Cause: errors.New(fill.Replace(best.Cause) + proof(source, status, code)),
		Next: fill.Replace(best.Next)}
}

// fits says how exactly a row matches an answer; -1 if it does not.
func (a Answer) fits(source Source, status int, code string) int {
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

// proof is what was answered, for whoever looks it up.
func proof(source Source, status int, code string) string {
	switch {
	case source == Network, source == Registry, status == 0:
		return ""
	case slices.Contains(own(), code):
		return " (" + strconv.Itoa(status) + ")"
	case source == Entra && code != "":
		return " (" + code + ")"
	case code == "" || source != Vault:
		return " (" + strconv.Itoa(status) + ")"
	}
	return " (" + strconv.Itoa(status) + " " + code + ")"
}

// own are the codes that nobody answers.
func own() []string { return []string{OtherType, NoSuchVault, ManyIdentities, NotJSON, TooLarge} }

// Has says whether the source has a row for exactly that code.
func Has(source Source, code string) bool {
	return slices.ContainsFunc(Answers(),
		func(a Answer) bool { return a.Source == source && a.Code == code && code != "" })
}
