package crd

import (
	_ "embed" // the definition
	"strconv"
)

// Name is the definition's own name.
const Name = "azurekeyvaultsecrets.spv.no"

// AnnotationSchema on the definition, written by the generator: the number of its schema, which grows when a program
// needs what is new in it.
const AnnotationSchema = "akv2k8s.io/schema"

//go:embed spv.no_azurekeyvaultsecrets.yaml
var definition []byte

// YAML is the definition.
func YAML() []byte { return definition }

// Schema reads the number of a definition's schema from its annotations. Definitions of 1.8 have none and are 0, as is
// texts that are not numbers.
func Schema(annotations map[string]string) int {
	n, err := strconv.Atoi(annotations[AnnotationSchema])
	if err != nil || n < 0 {
		return 0
	}
	return n
}
