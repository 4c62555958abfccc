package main

import (
	"fmt"
	"io"
	"os"

	"github.com/akv2k8s/akv2k8s/tests/readme/azurecli"
)

func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	folder, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(stderr, "az of the test:", err)
		return 1
	}
	answer, err := azurecli.Ask(getenv(azurecli.Socket), azurecli.Call{Args: args, Folder: folder})
	if err != nil {
		fmt.Fprintln(stderr, "az of the test:", err)
		return 1
	}
	fmt.Fprint(stdout, answer.Stdout)
	fmt.Fprint(stderr, answer.Stderr)
	return answer.Code
}
