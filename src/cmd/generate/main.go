// Command generate writes what is generated of the chart's values into a copy of the repository: schemas, the list of what a value must have, and pages.
package main

import "os"

// It ends by itself within a second, so no signal is waited for.
func main() { os.Exit(run(os.Args[1:], os.Stderr)) }
