package chartvalues

import (
	"reflect"
	"strconv"
	"strings"
)

// Schema is a JSON schema, of draft 7: every Helm 3 knows that one.
type Schema map[string]any

const dialect = "http://json-schema.org/draft-07/schema#"

// durationPattern is what Go reads as a time: numbers with units.
const durationPattern = `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`

// Parts are the parts of the tree that have a schema of their own, by their key, with the name of its file.
func Parts() map[string]string {
	return map[string]string{"global": "global", "controller": "controller", "env_injector": "env-injector"}
}

// Schemas are the schemas by the names of their files: one for each part, and akv2k8s for the whole, which refers to them.
func Schemas(comments Comments) map[string]Schema {
	whole := whole(comments)
	all := map[string]Schema{"akv2k8s": whole}
	properties := whole["properties"].(Schema)
	for key, file := range Parts() {
		part := properties[key].(Schema)
		part["$schema"], part["title"] = dialect, key+" of the values of akv2k8s"
		all[file] = part
		properties[key] = Schema{"$ref": file + ".schema.json"}
	}
	return all
}

// Bundle is the schema of the whole in one piece, as Helm wants it.
func Bundle(comments Comments) Schema {
	whole := whole(comments)
	properties, definitions := whole["properties"].(Schema), Schema{}
	for key := range Parts() {
		definitions[key] = properties[key]
		properties[key] = Schema{"$ref": "#/definitions/" + key}
	}
	whole["definitions"] = definitions
	return whole
}

func whole(comments Comments) Schema {
	s := object(reflect.TypeFor[Values](), "", comments)
	s["$schema"], s["title"] = dialect, "Values of akv2k8s"
	global := s["properties"].(Schema)["global"].(Schema)
	global["additionalProperties"] = true
	for _, shared := range []string{"metrics", "rbac"} { // names that other charts of one parent use too
		open(global["properties"].(Schema)[shared].(Schema))
	}
	return s
}

// open lets an object, and those below it, have other keys.
func open(s Schema) {
	properties, ok := s["properties"].(Schema)
	if !ok {
		return
	}
	s["additionalProperties"] = true
	for _, below := range properties {
		open(below.(Schema))
	}
}

// object is the schema of a struct, whose fields are all that there is.
func object(t reflect.Type, path string, comments Comments) Schema {
	properties := Schema{}
	for f := range fields(t, path) {
		s := property(f, comments)
		if text := f.description(comments); text != "" {
			s["description"] = text
		}
		properties[f.name] = s
	}
	return Schema{"type": "object", "properties": properties, "additionalProperties": false}
}

func property(f field, comments Comments) Schema {
	t := f.typ
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	s := kind(t, f.path, comments)
	constrain(s, f.rules)
	if f.nullable() {
		takeNull(s)
	}
	return s
}

// kinds are the schemas of types that stand for more than their Go kind says.
func kinds() map[reflect.Type]Schema {
	text := Schema{"type": "string"}
	scalar := Schema{"type": []string{"string", "number", "boolean", "null"}}
	named := Schema{"type": "object", "properties": Schema{"name": text}, "required": []string{"name"}, "additionalProperties": false}
	return map[reflect.Type]Schema{
		reflect.TypeFor[Int]():          {"type": []string{"integer", "string"}, "pattern": "^[0-9]+$"},
		reflect.TypeFor[IntOrPercent](): {"type": []string{"integer", "string"}, "pattern": "^([0-9]+%?)?$", "minimum": 0},
		reflect.TypeFor[Duration]():     {"type": "string", "pattern": durationPattern},
		reflect.TypeFor[Object]():       {"type": "object"},
		reflect.TypeFor[Objects]():      {"type": "array", "items": Schema{"type": "object"}},
		reflect.TypeFor[Scalars]():      {"type": "object", "additionalProperties": scalar},
		reflect.TypeFor[Texts]():        {"type": "object", "additionalProperties": text},
		reflect.TypeFor[Names]():        {"type": "array", "items": Schema{"anyOf": []Schema{text, named}}},
		reflect.TypeFor[Manifests]():    {"type": "array", "items": Schema{"type": []string{"object", "string"}}},
		reflect.TypeFor[Anything]():     {},
	}
}

func kind(t reflect.Type, path string, comments Comments) Schema {
	if s, ok := kinds()[t]; ok {
		return s
	}
	switch t.Kind() {
	case reflect.Bool:
		return Schema{"type": "boolean"}
	case reflect.Struct:
		return object(t, path, comments)
	case reflect.Slice:
		return Schema{"type": "array", "items": kind(t.Elem(), path+"[]", comments)}
	case reflect.Map:
		return Schema{"type": "object", "additionalProperties": kind(t.Elem(), path+"{}", comments)}
	case reflect.String:
		return Schema{"type": "string"}
	}
	panic("chartvalues: " + path + " has a type without a schema: " + t.String())
}

// constrain adds what the tag chart says.
func constrain(s Schema, rules map[string]string) {
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
		case "min", "max", "minLength":
			number, err := strconv.Atoi(text)
			if err != nil {
				panic("chartvalues: " + rule + "=" + text + " is no number")
			}
			s[map[string]string{"min": "minimum", "max": "maximum", "minLength": "minLength"}[rule]] = number
		case "legacy", "parent":
		default:
			panic("chartvalues: there is no rule " + rule)
		}
	}
}

// takeNull lets a schema take null besides.
func takeNull(s Schema) {
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
