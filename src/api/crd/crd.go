package crd

import (
	_ "embed" // the definition
	"strconv"
)

// Name is the name of the CustomResourceDefinition.
const Name = "azurekeyvaultsecrets.spv.no"

// AnnotationSchema is an annotation of the definition with the number of its schema. The number increases when a
// program needs a new field of the schema.
const AnnotationSchema = "akv2k8s.io/schema"

//go:embed spv.no_azurekeyvaultsecrets.yaml
var definition []byte

// YAML returns the CustomResourceDefinition as YAML.
func YAML() []byte { return definition }

// Schema returns the number of a definition's schema from its annotations. It returns 0 if the annotation is missing,
// as in 1.8, or is not a number.
func Schema(annotations map[string]string) int {
	n, err := strconv.Atoi(annotations[AnnotationSchema])
	if err != nil || n < 0 {
		return 0
	}
	return n
}
