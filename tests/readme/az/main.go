// Package main is az for tests: it sends its arguments to the stand-in of the test (package azurecli) and prints the
// answer.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }
