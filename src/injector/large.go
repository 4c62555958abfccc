package injector

import (
	"fmt"
	"strings"
)

// pagesPerText is how many pages of memory Linux passes on in one argument or variable, its end included
// (MAX_ARG_STRLEN).
const pagesPerText = 32

// pointer is what Linux counts for each argument and variable besides its bytes.
const pointer = 8

// another is the way that has no such bounds.
const another = "or let the controller sync a Kubernetes Secret (spec.output.secret) and mount that as a file"

// tooLarge says which argument or variable is longer than Linux passes on to a program, or that all of them are
// together; page is the size of a page of memory.
func tooLarge(args, environ []string, page int) string {
	longest, total := pagesPerText*page, 0
	long := func(what, text string) string {
		return fmt.Sprintf("%s is %d bytes long, and Linux passes at most %d on in one; shorten it, %s", what,
			len(text)+1, longest, another)
	}
	for i, text := range args {
		if len(text) >= longest {
			return long(fmt.Sprintf("argument %d", i), text)
		}
		total += len(text) + 1 + pointer
	}
	for _, text := range environ {
		if len(text) >= longest {
			name, _, _ := strings.Cut(text, "=")
			return long("variable "+name, text)
		}
		total += len(text) + 1 + pointer
	}
	return fmt.Sprintf("its arguments and variables are %d bytes together, and Linux passes at most a quarter of the "+
		"stack's limit on, which is mostly 2 MiB; use fewer or shorter ones, %s", total, another)
}
