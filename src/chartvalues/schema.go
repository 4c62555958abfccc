package chartvalues

import (
	"reflect"
	"strconv"
	"strings"
)

// Schema is a JSON schema of draft 7, which every Helm 3 supports.
type Schema map[string]any

const schemaDialect = "http://json-schema.org/draft-07/schema#"

// durationPattern matches a Go duration with an optional leading number of days, which the chart converts to hours.
const durationPattern = `^(0|([0-9]+d)?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))*)$`

// Patterns of names and addresses. Most accept the empty string, which means the same as an absent key.
const (
	namePattern       = `^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$`
	servicePattern    = `^([a-z]([-a-z0-9]*[a-z0-9])?)?$`
	labelPattern      = `^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`
	registryPattern   = `^((\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:[0-9]+)?(/[A-Za-z0-9._/-]+)?)?$`
	repositoryPattern = `^((\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:[0-9]+)?/)?[a-z0-9._/-]+$`
	tagPattern        = `^([A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$`
	pemPattern        = `^\s*$|-----BEGIN CERTIFICATE-----`
	base64Pattern     = `^[A-Za-z0-9+/\s]*={0,2}\s*$`
)

// namedPatterns returns the patterns that the rule "is" of a field's tag can name.
func namedPatterns() map[string]string {
	return map[string]string{"name": namePattern, "service": servicePattern, "label": labelPattern,
		"registry":   registryPattern,
		"repository": repositoryPattern, "tag": tagPattern, "pem": pemPattern, "base64": base64Pattern}
}

// SchemaParts maps each top-level key that has its own schema to the name of the schema's file.
func SchemaParts() map[string]string {
	return map[string]string{"global": "global", "controller": "controller", "env_injector": "env-injector"}
}

// Schemas returns the schemas by file name: one for each part, and akv2k8s for the whole tree, which refers to them.
func Schemas(comments Comments) map[string]Schema {
	whole := fullSchema(comments)
	all := map[string]Schema{"akv2k8s": whole}
	properties := whole["properties"].(Schema)
	for key, file := range SchemaParts() {
		part := properties[key].(Schema)
		part["$schema"], part["title"], part["definitions"] = schemaDialect, key+" of the values of akv2k8s",
			usedDefinitions(part, whole["definitions"].(Schema))
		all[file] = part
		properties[key] = Schema{"$ref": file + ".schema.json"}
	}
	whole["definitions"] = usedDefinitions(whole["properties"], whole["definitions"].(Schema))
	return all
}

// usedDefinitions returns the definitions that a schema refers to, directly or indirectly.
func usedDefinitions(of any, definitions Schema) Schema {
	found := Schema{}
	collectDefinitions(of, definitions, found)
	return found
}

func collectDefinitions(of any, definitions, found Schema) {
	switch node := of.(type) {
	case Schema:
		reference, _ := node["$ref"].(string)
		if name, ok := strings.CutPrefix(reference, "#/definitions/"); ok && found[name] == nil {
			found[name] = definitions[name]
			collectDefinitions(definitions[name], definitions, found)
		}
		for _, below := range node {
			collectDefinitions(below, definitions, found)
		}
	case []Schema:
		for _, below := range node {
			collectDefinitions(below, definitions, found)
		}
	}
}

// BundledSchema returns the schema of the whole tree in one file, as Helm requires.
func BundledSchema(comments Comments) Schema {
	whole := fullSchema(comments)
	properties, definitions := whole["properties"].(Schema), whole["definitions"].(Schema)
	for key := range SchemaParts() {
		definitions[key] = properties[key]
		properties[key] = Schema{"$ref": "#/definitions/" + key}
	}
	return whole
}

// schemaInputs holds the inputs of schemas: the comments of values.yaml and the definitions of Kubernetes types so far.
type schemaInputs struct {
	comments    Comments
	definitions Schema
}

func fullSchema(comments Comments) Schema {
	definitions := Schema{}
	s := structSchema(reflect.TypeFor[Values](), "", schemaInputs{comments, definitions})
	s["$schema"], s["title"], s["definitions"] = schemaDialect, "Values of akv2k8s", definitions
	global := s["properties"].(Schema)["global"].(Schema)
	global["additionalProperties"] = true
	for _, shared := range sharedObjects() {
		allowOtherKeys(global["properties"].(Schema)[shared].(Schema))
	}
	return s
}

// allowOtherKeys allows unknown keys in an object and in the objects below it.
func allowOtherKeys(s Schema) {
	properties, ok := s["properties"].(Schema)
	if !ok {
		return
	}
	s["additionalProperties"] = true
	for _, below := range properties {
		allowOtherKeys(below.(Schema))
	}
}

// structSchema returns the schema of a struct. It rejects keys other than the fields.
func structSchema(t reflect.Type, path string, from schemaInputs) Schema {
	properties := Schema{}
	for f := range structFields(t, path) {
		s := fieldSchema(f, from)
		if text := f.descriptionFrom(from.comments); text != "" {
			s["description"] = text
		}
		properties[f.name] = s
	}
	return Schema{"type": "object", "properties": properties, "additionalProperties": false}
}

func fieldSchema(f valueField, from schemaInputs) Schema {
	if _, checked := f.rules["checked"]; checked { // by the chart, which knows whether it has a parent chart
		return Schema{}
	}
	if f.rules["kubernetes"] != "" {
		return kubernetesFieldSchema(f, from.definitions)
	}
	t := f.goType
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	s := typeSchema(t, f.path, from)
	applyRules(s, f.rules)
	if f.isNullable() {
		allowNull(s)
	}
	return s
}

// schemasByType returns the schemas of types that need another schema than their Go kind.
func schemasByType() map[reflect.Type]Schema {
	scalar := Schema{"type": []string{"string", "number", "boolean", "null"}}
	named := Schema{"type": "object", "properties": Schema{"name": Schema{"type": "string", "pattern": namePattern}},
		"required": []string{"name"}, "additionalProperties": false}
	return map[reflect.Type]Schema{
		reflect.TypeFor[QuotableInt](): {"type": []string{"integer", "string"}, "pattern": "^[0-9]+$"},
		reflect.TypeFor[IntOrPercent](): {"type": []string{"integer", "string"}, "pattern": "^([0-9]+%?)?$",
			"minimum": 0},
		reflect.TypeFor[Duration]():      {"type": "string", "pattern": durationPattern},
		reflect.TypeFor[RawObject]():     {"type": "object"},
		reflect.TypeFor[RawObjectList](): {"type": "array", "items": Schema{"type": "object"}},
		reflect.TypeFor[ScalarMap]():     {"type": "object", "additionalProperties": scalar},
		reflect.TypeFor[StringMap]():     {"type": "object", "additionalProperties": scalar},
		reflect.TypeFor[NameList](): {"type": "array",
			"items": Schema{"anyOf": []Schema{{"type": "string", "pattern": namePattern}, named}}},
		reflect.TypeFor[ManifestList](): {"type": "array", "items": Schema{"type": []string{"object", "string"}}},
		reflect.TypeFor[IgnoredValue](): {},
	}
}

func typeSchema(t reflect.Type, path string, from schemaInputs) Schema {
	if s, ok := schemasByType()[t]; ok {
		return s
	}
	switch t.Kind() {
	case reflect.Bool:
		return Schema{"type": "boolean"}
	case reflect.Struct:
		return structSchema(t, path, from)
	case reflect.Slice:
		return Schema{"type": "array", "items": typeSchema(t.Elem(), path+"[]", from)}
	case reflect.Map:
		return Schema{"type": "object", "additionalProperties": typeSchema(t.Elem(), path+"{}", from)}
	case reflect.String:
		return Schema{"type": "string"}
	}
	panic("chartvalues: " + path + " has a type without a schema: " + t.String())
}

// applyRules applies the rules of a struct tag "chart" to a schema.
func applyRules(s Schema, rules map[string]string) {
	for rule, text := range rules {
		switch rule {
		case "enum":
			var values []any
			for value := range strings.SplitSeq(text, "|") {
				values = append(values, value)
			}
			s["enum"] = values
		case "pattern":
			s["pattern"] = text
		case "is":
			pattern, known := namedPatterns()[text]
			if !known {
				panic("chartvalues: there is no pattern " + text)
			}
			s["pattern"] = pattern
		case "min", "max", "minLength":
			number, err := strconv.Atoi(text)
			if err != nil {
				panic("chartvalues: " + rule + "=" + text + " is not a number")
			}
			s[map[string]string{"min": "minimum", "max": "maximum", "minLength": "minLength"}[rule]] = number
		case "checked", "legacy", "parent", "kubernetes":
		default:
			panic("chartvalues: there is no rule " + rule)
		}
	}
}

// allowNull makes a schema accept null too.
func allowNull(s Schema) {
	switch types := s["type"].(type) {
	case string:
		s["type"] = []string{types, "null"}
	case []string:
		s["type"] = append(types, "null")
	}
	if values, ok := s["enum"].([]any); ok {
		s["enum"] = append(values, nil)
	}
}
