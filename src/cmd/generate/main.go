// Command generate writes what is generated of the chart's values into a copy of the repository: schemas, the list of what a value must have, and pages.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }
