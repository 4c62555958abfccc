package chartvalues

import (
	"iter"
	"reflect"
	"strings"
)

// valueField is a key of the values tree.
type valueField struct {
	// name is the key, path the keys from the root to it, joined with dots.
	name, path string
	goType     reflect.Type
	// rules are the rules in the struct tag "chart", by name.
	rules map[string]string
}

// structFields returns the keys of a struct. Keys of embedded structs are promoted.
func structFields(t reflect.Type, path string) iter.Seq[valueField] {
	return func(yield func(valueField) bool) {
		for _, f := range reflect.VisibleFields(t) {
			name := f.Tag.Get("json")
			if f.Anonymous || name == "" {
				continue
			}
			whole := name
			if path != "" {
				whole = path + "." + name
			}
			if !yield(valueField{name: name, path: whole, goType: f.Type, rules: parseRules(f.Tag.Get("chart"))}) {
				return
			}
		}
	}
}

// parseRules parses a struct tag "chart" of the form "rule=value;rule".
func parseRules(tag string) map[string]string {
	found := map[string]string{}
	for rule := range strings.SplitSeq(tag, ";") {
		if name, value, _ := strings.Cut(rule, "="); name != "" {
			found[name] = value
		}
	}
	return found
}

// descriptionFrom returns the description of the key in the schema.
func (f valueField) descriptionFrom(comments Comments) string {
	if _, ok := f.rules["legacy"]; ok {
		return "Accepted from older charts and ignored."
	}
	if _, ok := f.rules["parent"]; ok {
		return "Accepted for conditions of parent charts and ignored."
	}
	return comments[f.path]
}

// isHidden reports whether the key is not in values.yaml.
func (f valueField) isHidden() bool {
	_, legacy := f.rules["legacy"]
	_, parent := f.rules["parent"]
	return legacy || parent
}

// isLeaf reports whether the key has no keys of this tree below it.
func (f valueField) isLeaf() bool { return f.goType.Kind() != reflect.Struct }

// leafFields returns the keys of a struct that have no keys below them, without hidden keys.
func leafFields(t reflect.Type, path string) iter.Seq[valueField] {
	return func(yield func(valueField) bool) {
		for f := range structFields(t, path) {
			switch {
			case f.isHidden():
			case f.isLeaf():
				if !yield(f) {
					return
				}
			default:
				for below := range leafFields(f.goType, f.path) {
					if !yield(below) {
						return
					}
				}
			}
		}
	}
}

// LeafPaths returns the paths of all keys that have no keys below them.
func LeafPaths() []string {
	var all []string
	for f := range leafFields(reflect.TypeFor[Values](), "") {
		all = append(all, f.path)
	}
	return all
}

// RequiredPaths returns the paths of keys that must have a value, and of sections that must exist. The defaults set
// them, but a user can remove them with null.
func RequiredPaths() []string { return requiredPaths(reflect.TypeFor[Values](), "") }

func requiredPaths(t reflect.Type, path string) []string {
	var all []string
	for f := range structFields(t, path) {
		switch {
		case f.isHidden():
		case !f.isLeaf():
			below := requiredPaths(f.goType, f.path)
			if len(below) == 0 {
				below = []string{f.path}
			}
			all = append(all, below...)
		case !f.isNullable():
			all = append(all, f.path)
		}
	}
	return all
}

// isNullable reports whether the key accepts null, which means the same as an absent key.
func (f valueField) isNullable() bool {
	switch f.goType.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return true
	}
	return false
}

// PathsOf returns the paths of all fields of type T, in the order of the tree.
func PathsOf[T any]() []string { return pathsOf(reflect.TypeFor[Values](), "", reflect.TypeFor[T]()) }

func pathsOf(t reflect.Type, path string, wanted reflect.Type) []string {
	var all []string
	for f := range structFields(t, path) {
		switch typ := f.goType; {
		case typ == wanted || typ.Kind() == reflect.Pointer && typ.Elem() == wanted:
			all = append(all, f.path)
		case !f.isLeaf():
			all = append(all, pathsOf(typ, f.path, wanted)...)
		}
	}
	return all
}

// SharedGlobalKeys returns the keys that this chart knows in each object that Helm shares among charts, by path, for
// example "global": logLevel, logFormat, …. These objects accept other keys too.
func SharedGlobalKeys() map[string][]string {
	known := map[string][]string{}
	var visit func(t reflect.Type, path string)
	visit = func(t reflect.Type, path string) {
		for f := range structFields(t, path) {
			known[path] = append(known[path], f.name)
			if !f.isLeaf() && isShared(f.path) {
				visit(f.goType, f.path)
			}
		}
	}
	visit(reflect.TypeFor[Global](), "global")
	return known
}

// isShared reports whether other charts under the same parent chart use the object too.
func isShared(path string) bool {
	for _, shared := range sharedObjects() {
		if path == "global."+shared || strings.HasPrefix(path, "global."+shared+".") {
			return true
		}
	}
	return false
}

// sharedObjects returns the names of objects in global that other charts use too.
func sharedObjects() []string { return []string{"metrics", "rbac"} }

// GlobalEnum is a value of global that accepts one of several words. The chart checks it instead of the schema, because
// under a parent chart another chart can use the same key with other words.
type GlobalEnum struct {
	Path   string
	Values []string
}

// GlobalEnums returns all enumerated values of global.
func GlobalEnums() []GlobalEnum {
	var all []GlobalEnum
	for f := range structFields(reflect.TypeFor[Global](), "global") {
		if words, ok := f.rules["checked"]; ok {
			all = append(all, GlobalEnum{f.path, strings.Split(words, "|")})
		}
	}
	return all
}
