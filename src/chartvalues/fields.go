package chartvalues

import (
	"iter"
	"reflect"
	"strings"
)

// field is a key of the values tree.
type field struct {
	// name is the key, path the keys from the root to it, joined with dots.
	name, path string
	typ        reflect.Type
	// rules are the rules in the struct tag "chart", by name.
	rules map[string]string
}

// fields returns the keys of a struct. Keys of embedded structs are promoted.
func fields(t reflect.Type, path string) iter.Seq[field] {
	return func(yield func(field) bool) {
		for _, f := range reflect.VisibleFields(t) {
			name := f.Tag.Get("json")
			if f.Anonymous || name == "" {
				continue
			}
			whole := name
			if path != "" {
				whole = path + "." + name
			}
			if !yield(field{name: name, path: whole, typ: f.Type, rules: rules(f.Tag.Get("chart"))}) {
				return
			}
		}
	}
}

// rules parses a struct tag "chart" of the form "rule=value;rule".
func rules(tag string) map[string]string {
	found := map[string]string{}
	for rule := range strings.SplitSeq(tag, ";") {
		if name, value, _ := strings.Cut(rule, "="); name != "" {
			found[name] = value
		}
	}
	return found
}

// description returns the description of the key in the schema.
func (f field) description(comments Comments) string {
	if _, ok := f.rules["legacy"]; ok {
		return "Accepted from older charts and ignored."
	}
	if _, ok := f.rules["parent"]; ok {
		return "Accepted for conditions of parent charts and ignored."
	}
	return comments[f.path]
}

// hidden reports whether the key is not in values.yaml.
func (f field) hidden() bool {
	_, legacy := f.rules["legacy"]
	_, parent := f.rules["parent"]
	return legacy || parent
}

// leaf reports whether the key has no keys of this tree below it.
func (f field) leaf() bool { return f.typ.Kind() != reflect.Struct }

// leaves returns the keys of a struct that have no keys below them, without hidden keys.
func leaves(t reflect.Type, path string) iter.Seq[field] {
	return func(yield func(field) bool) {
		for f := range fields(t, path) {
			switch {
			case f.hidden():
			case f.leaf():
				if !yield(f) {
					return
				}
			default:
				for below := range leaves(f.typ, f.path) {
					if !yield(below) {
						return
					}
				}
			}
		}
	}
}

// Leaves returns the paths of all keys that have no keys below them.
func Leaves() []string {
	var all []string
	for f := range leaves(reflect.TypeFor[Values](), "") {
		all = append(all, f.path)
	}
	return all
}

// Needed returns the paths of keys that must have a value, and of sections that must exist. The defaults set them, but
// a user can remove them with null.
func Needed() []string { return needed(reflect.TypeFor[Values](), "") }

func needed(t reflect.Type, path string) []string {
	var all []string
	for f := range fields(t, path) {
		switch {
		case f.hidden():
		case !f.leaf():
			below := needed(f.typ, f.path)
			if len(below) == 0 {
				below = []string{f.path}
			}
			all = append(all, below...)
		case !f.nullable():
			all = append(all, f.path)
		}
	}
	return all
}

// nullable reports whether the key accepts null, which means the same as an absent key.
func (f field) nullable() bool {
	switch f.typ.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return true
	}
	return false
}

// PathsOf returns the paths of all fields of type T, in the order of the tree.
func PathsOf[T any]() []string { return pathsOf(reflect.TypeFor[Values](), "", reflect.TypeFor[T]()) }

func pathsOf(t reflect.Type, path string, wanted reflect.Type) []string {
	var all []string
	for f := range fields(t, path) {
		switch typ := f.typ; {
		case typ == wanted || typ.Kind() == reflect.Pointer && typ.Elem() == wanted:
			all = append(all, f.path)
		case !f.leaf():
			all = append(all, pathsOf(typ, f.path, wanted)...)
		}
	}
	return all
}

// SharedKeys returns the keys that this chart knows in each object that Helm shares among charts, by path, for example
// "global": logLevel, logFormat, …. These objects accept other keys too.
func SharedKeys() map[string][]string {
	known := map[string][]string{}
	var visit func(t reflect.Type, path string)
	visit = func(t reflect.Type, path string) {
		for f := range fields(t, path) {
			known[path] = append(known[path], f.name)
			if !f.leaf() && isShared(f.path) {
				visit(f.typ, f.path)
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

// Choice is a value of global that accepts one of several words. The chart checks it instead of the schema, because
// under a parent chart another chart can use the same key with other words.
type Choice struct {
	Path   string
	Values []string
}

// Choices returns all enumerated values of global.
func Choices() []Choice {
	var all []Choice
	for f := range fields(reflect.TypeFor[Global](), "global") {
		if words, ok := f.rules["checked"]; ok {
			all = append(all, Choice{f.path, strings.Split(words, "|")})
		}
	}
	return all
}
