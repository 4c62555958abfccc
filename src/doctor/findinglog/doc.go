// Package findinglog passes findings through the log of a container: one line for each, with a prefix, because the log
// has the lines of standard error, too.
//
// Floor 2. Its two ends are the subcommand check-azure of the controller, and doctor/azurejob. It has fewer than a
// hundred lines, because both must agree on the form of a line, and share nothing else.
package findinglog
