package injector

import (
	"fmt"
	"strings"
)

// maxTextPages is MAX_ARG_STRLEN of Linux, in pages of memory: the maximum size of one argument or variable, including
// its terminating NUL.
const maxTextPages = 32

// pointerBytes is the number of bytes that Linux counts for each argument and variable in addition to its text.
const pointerBytes = 8

// adviceMountSecret is the advice that avoids these limits.
const adviceMountSecret = "or let the controller sync a Kubernetes Secret (spec.output.secret) and mount it as a file"

// explainTooLarge explains E2BIG: it names the argument or variable that is too long for Linux, or says that all of
// them together are. page is the size of a memory page in bytes.
func explainTooLarge(args, environ []string, page int) string {
	longest, total := maxTextPages*page, 0
	long := func(what, text string) string {
		return fmt.Sprintf("%s is %d bytes long, and Linux allows at most %d in one argument or variable; "+
			"shorten it, %s", what, len(text)+1, longest, adviceMountSecret)
	}
	for i, text := range args {
		if len(text) >= longest {
			return long(fmt.Sprintf("argument %d", i), text)
		}
		total += len(text) + 1 + pointerBytes
	}
	for _, text := range environ {
		if len(text) >= longest {
			name, _, _ := strings.Cut(text, "=")
			return long("variable "+name, text)
		}
		total += len(text) + 1 + pointerBytes
	}
	return fmt.Sprintf("its arguments and variables are %d bytes together, and Linux allows at most a quarter of the "+
		"stack limit, usually 2 MiB; use fewer or shorter ones, %s", total, adviceMountSecret)
}
