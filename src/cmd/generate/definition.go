package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// definitionFile is the CustomResourceDefinition in a copy of the repository. Package crd embeds the definition of the
// repository that this program was built from, which can be another one.
const definitionFile = "src/api/crd/spv.no_azurekeyvaultsecrets.yaml"

type (
	crdVersion = apiextensionsv1.CustomResourceDefinitionVersion
	crdSchema  = apiextensionsv1.JSONSchemaProps
)

// readVersions reads the versions of the CustomResourceDefinition in a copy of the repository: first the one in which
// resources are stored, then the others by name.
func readVersions(root string) ([]crdVersion, error) {
	content, err := os.ReadFile(filepath.Join(root, definitionFile))
	if err != nil {
		return nil, err
	}
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(content, &definition); err != nil {
		return nil, fmt.Errorf("reading %s: %w", definitionFile, err)
	}
	versions := definition.Spec.Versions
	slices.SortStableFunc(versions, func(a, b crdVersion) int {
		switch {
		case a.Storage:
			return -1
		case b.Storage:
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	if len(versions) == 0 || !versions[0].Storage {
		return nil, fmt.Errorf("%s has no version in which resources are stored", definitionFile)
	}
	return versions, nil
}

// crdField is a field of a version, or its spec or status.
type crdField struct {
	// path begins with spec or status, and has [] after the name of a list of objects.
	path     string
	schema   crdSchema
	required bool
	// rules are the messages of the rules that are about this field.
	rules []string
}

// name returns the last part of the path, without brackets.
func (f crdField) name() string {
	return strings.TrimSuffix(f.path[strings.LastIndexByte(f.path, '.')+1:], "[]")
}

// fieldsOf returns the fields of spec or status, parents first.
func fieldsOf(version crdVersion, part string) []crdField {
	whole := version.Schema.OpenAPIV3Schema
	rules := map[string][]string{}
	fields := fieldsBelow(crdField{path: part, schema: whole.Properties[part],
		required: slices.Contains(whole.Required, part)}, rules)
	for i, f := range fields {
		fields[i].rules = rules[f.path]
		if list, ok := strings.CutSuffix(f.path, "[]"); ok {
			fields[i].rules = slices.Concat(rules[list], rules[f.path])
		}
	}
	return fields
}

// fieldsBelow returns a field and all fields below it. It adds the messages of their rules to rules, by the path of the
// field that a rule is about.
func fieldsBelow(f crdField, rules map[string][]string) []crdField {
	object := f.schema
	if object.Items != nil && object.Items.Schema.Type == "object" {
		f.path, object = f.path+"[]", *object.Items.Schema
		object.XValidations = slices.Concat(f.schema.XValidations, object.XValidations)
	}
	for _, rule := range object.XValidations {
		rules[f.path+rule.FieldPath] = append(rules[f.path+rule.FieldPath], rule.Message)
	}
	all := []crdField{f}
	for _, name := range slices.Sorted(maps.Keys(object.Properties)) {
		below := crdField{path: f.path + "." + name, schema: object.Properties[name],
			required: slices.Contains(object.Required, name)}
		all = append(all, fieldsBelow(below, rules)...)
	}
	return all
}

// conditionDescriptions describe the fields of a condition, whose type is not ours.
func conditionDescriptions() map[string]string {
	return map[string]string{
		"type":               "Type of the condition.",
		"status":             "Whether the condition is true.",
		"reason":             "The cause in one word.",
		"message":            "The cause and the next step.",
		"lastTransitionTime": "When the status of the condition last changed.",
		"observedGeneration": "The generation of the spec that the condition describes.",
	}
}

// typeSubject is the beginning of the description of a type.
var typeSubject = regexp.MustCompile(`^AzureKeyVault\w+ is the `)

// description returns the description of a field in one line, with the name of the field instead of the Go name.
func (f crdField) description() string {
	if strings.HasPrefix(f.path, "status.conditions[].") {
		return conditionDescriptions()[f.name()]
	}
	text := typeSubject.ReplaceAllString(oneLine(f.schema.Description), "The ")
	first, rest, _ := strings.Cut(text, " ")
	if strings.EqualFold(first, f.name()) && strings.ContainsFunc(f.name(), unicode.IsUpper) {
		return f.name() + " " + rest
	}
	return text
}
