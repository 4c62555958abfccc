package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/chartvalues"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// schemaURL is the folder of the website that has the schemas of the folder schemas.
const schemaURL = "https://akv2k8s.io/schemas/"

// crdSchemaFile returns the name of the file with the JSON schema of a version, in the form that kubeconform expects.
func crdSchemaFile(version string) string {
	return strings.ToLower(wire.Kind) + "_" + version + ".json"
}

// crdJSONSchema returns the JSON schema of a version, which stands alone. Unlike the API server, it rejects unknown
// fields, so that editors mark misspelt ones.
func crdJSONSchema(version crdVersion) chartvalues.Schema {
	fields := map[string]crdField{}
	for _, part := range []string{"spec", "status"} {
		for _, f := range fieldsOf(version, part) {
			fields[f.path] = f
		}
	}
	convert := converter{fields}
	whole := version.Schema.OpenAPIV3Schema
	texts := chartvalues.Schema{"type": "object", "additionalProperties": chartvalues.Schema{"type": "string"}}
	return chartvalues.Schema{
		"$schema":     "http://json-schema.org/draft-07/schema#",
		"$id":         schemaURL + crdSchemaFile(version.Name),
		"title":       wire.Kind + " of " + wire.Group + "/" + version.Name,
		"description": oneLine(whole.Description),
		"type":        "object",
		"required":    []string{"apiVersion", "kind", "metadata", "spec"},
		"properties": chartvalues.Schema{
			"apiVersion": chartvalues.Schema{"const": wire.Group + "/" + version.Name},
			"kind":       chartvalues.Schema{"const": wire.Kind},
			"metadata": chartvalues.Schema{"type": "object", "properties": chartvalues.Schema{
				"name": chartvalues.Schema{"type": "string"}, "namespace": chartvalues.Schema{"type": "string"},
				"labels": texts, "annotations": texts}},
			"spec":   convert.schemaAt("spec", whole.Properties["spec"]),
			"status": convert.schemaAt("status", whole.Properties["status"]),
		},
		"additionalProperties": false,
	}
}

// converter converts schemas of a version to JSON schemas. It knows the fields by path.
type converter struct{ fields map[string]crdField }

// schemaAt returns the JSON schema of a field.
func (c converter) schemaAt(path string, from crdSchema) chartvalues.Schema {
	s := keywordsOf(from)
	switch {
	case from.Items != nil && from.Items.Schema.Type == "object":
		path += "[]"
		items := c.objectSchema(path, *from.Items.Schema)
		delete(items, "description")
		s["items"] = items
	case from.Items != nil:
		s["items"] = keywordsOf(*from.Items.Schema)
	case len(from.Properties) > 0:
		s = c.objectSchema(path, from)
	case from.AdditionalProperties != nil:
		s["additionalProperties"] = keywordsOf(*from.AdditionalProperties.Schema)
	}
	f := c.fields[path]
	text := f.description()
	for _, message := range f.rules {
		text += fmt.Sprintf("\n\nThe API server checks: %s.", message)
	}
	s["description"] = text
	return s
}

// objectSchema returns the JSON schema of an object with named fields.
func (c converter) objectSchema(path string, from crdSchema) chartvalues.Schema {
	s, properties := keywordsOf(from), chartvalues.Schema{}
	for name, below := range from.Properties {
		properties[name] = c.schemaAt(path+"."+name, below)
	}
	s["properties"], s["additionalProperties"] = properties, false
	if len(from.Required) > 0 {
		s["required"] = from.Required
	}
	return s
}

// keywordsOf returns the keywords that both kinds of schema have, without those of fields and items.
func keywordsOf(from crdSchema) chartvalues.Schema {
	s := chartvalues.Schema{"type": from.Type}
	if from.XIntOrString {
		s["type"] = []string{"integer", "string"}
	}
	if len(from.Enum) > 0 {
		s["enum"] = from.Enum
	}
	if from.Default != nil {
		s["default"] = json.RawMessage(from.Default.Raw)
	}
	if from.Pattern != "" {
		s["pattern"] = from.Pattern
	}
	if from.Format == "date-time" {
		s["format"] = from.Format
	}
	if from.Minimum != nil {
		s["minimum"] = *from.Minimum
	}
	for keyword, number := range map[string]*int64{"minLength": from.MinLength, "maxLength": from.MaxLength,
		"minItems": from.MinItems, "maxItems": from.MaxItems, "minProperties": from.MinProperties,
		"maxProperties": from.MaxProperties} {
		if number != nil {
			s[keyword] = *number
		}
	}
	return s
}

// oneLine returns a text in one line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
