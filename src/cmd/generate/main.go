// Command generate writes what is generated of the chart's values and rights into a copy of the repository: schemas,
// templates and pages.
package main

import "os"

// It ends by itself within a second, so no signal is waited for.
func main() { os.Exit(run(os.Args[1:], os.Stderr)) }
