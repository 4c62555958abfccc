// Command generate writes the files that are generated from code and from values.yaml into a copy of the repository:
// JSON schemas, chart templates and pages.
package main

import "os"

// main handles no signals: nothing is written until everything is rendered.
func main() { os.Exit(run(os.Args[1:], os.Stderr)) }
