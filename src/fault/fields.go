package fault

import (
	"slices"
	"strings"
)

// RequireFields checks the configuration of a constructor. valid has the name of each required field, and whether it is
// set to a usable value. The error names all others. Its kind is Bug, because only a program can omit them.
func RequireFields(constructor string, valid map[string]bool) error {
	var missing []string
	for name, ok := range valid {
		if !ok {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return New(Bug, "%s: missing or invalid: %s", constructor, strings.Join(missing, ", "))
}
