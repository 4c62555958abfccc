package fileformat

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// dotEnvKey matches the names of shell variables, which every reader of such files accepts.
var dotEnvKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// dotEnvPlain matches the values that every reader takes as they are, without quotes. docker run --env-file knows no
// quotes, and takes them as a part of the value.
var dotEnvPlain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=-]*$`)

// dotEnvLine is the line of one variable. It uses only what shells, the EnvironmentFile of systemd, Docker Compose,
// Node.js and the dotenv libraries read equally:
//
//   - no quotes, for a value that needs none;
//   - single quotes, in which all characters stand for themselves, also newlines. Some libraries know \' and \\ there,
//     so such values are not written like this;
//   - double quotes, for a value with a single quote and without a character that is special there.
//
// Any other value is an error. Two readers differ without a remedy: docker run --env-file takes quotes as a part of the
// value, and python-dotenv expands ${NAME} even in single quotes, unless interpolate=False.
func dotEnvLine(key, value string) (string, error) {
	if !dotEnvKey.MatchString(key) {
		return "", fault.NewWithNextStep(fault.Invalid,
			"choose a data key of letters, digits and underscores in spec.data, or use the format json or properties",
			"the data key %.*q is not the name of a variable, so a file of format dotenv can't hold it", maxShownKey,
			key)
	}
	quote, problem := dotEnvQuote(value)
	if problem != "" {
		return "", newValueError(DotEnv, key, problem, adviceJSON)
	}
	return key + "=" + quote + value + quote + "\n", nil
}

// dotEnvQuote is the quote around a value, or the reason why there is none.
func dotEnvQuote(value string) (quote, problem string) {
	switch {
	case dotEnvPlain.MatchString(value):
		return "", ""
	case strings.ContainsRune(value, '\r'):
		return "", "has a carriage return"
	case strings.ContainsFunc(value, isControl):
		return "", "has a control character"
	case !strings.ContainsRune(value, '\'') && !strings.Contains(value, `\\`) && !strings.HasSuffix(value, `\`):
		return "'", ""
	case !strings.ContainsAny(value, "\"$`\\!\n"):
		return `"`, ""
	}
	return "", "has single quotes or backslashes in a combination that readers of such files understand differently"
}

// isControl reports whether a character is a control character other than a newline or a tab.
func isControl(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
