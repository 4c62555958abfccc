package chartvalues

import (
	"iter"
	"reflect"
	"strings"
)

// field is one key of the tree.
type field struct {
	// name of the key, and the path to it with dots.
	name, path string
	typ        reflect.Type
	// rules are of the tag chart, by name.
	rules map[string]string
}

// fields are the keys of a struct; those of an embedded struct are its own.
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

func rules(tag string) map[string]string {
	found := map[string]string{}
	for rule := range strings.SplitSeq(tag, ";") {
		if name, value, _ := strings.Cut(rule, "="); name != "" {
			found[name] = value
		}
	}
	return found
}

func (f field) description(comments Comments) string {
	if _, ok := f.rules["legacy"]; ok {
		return "Of an older chart; ignored."
	}
	if _, ok := f.rules["parent"]; ok {
		return "For the condition of a parent chart; ignored."
	}
	return comments[f.path]
}

// hidden says that values.yaml does not show the key.
func (f field) hidden() bool {
	_, legacy := f.rules["legacy"]
	_, parent := f.rules["parent"]
	return legacy || parent
}

// leaf says that the key has no keys of ours below it.
func (f field) leaf() bool { return f.typ.Kind() != reflect.Struct }

// leaves are the keys of the tree that have no keys below them, those of older charts left out.
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

// Leaves are the paths of all keys without keys below them.
func Leaves() []string {
	var all []string
	for f := range leaves(reflect.TypeFor[Values](), "") {
		all = append(all, f.path)
	}
	return all
}

// Needed are the paths of keys that must have a value, and of sections that must be there: the defaults give them,
// unless a user takes them away.
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

// nullable says that null is taken, and means what an absent key means.
func (f field) nullable() bool {
	switch f.typ.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return true
	}
	return false
}

// PathsOf are the paths of all fields of a type, in the order of the tree.
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

// SharedKeys are the objects of the tree that Helm shares among charts and that therefore accept other keys, each with
// the keys that this chart knows: "global: logLevel logFormat …".
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

// isShared says whether other charts of one parent use the object too.
func isShared(path string) bool {
	for _, shared := range sharedObjects() {
		if path == "global."+shared || strings.HasPrefix(path, "global."+shared+".") {
			return true
		}
	}
	return false
}

// sharedObjects are names of objects in global that other charts use too.
func sharedObjects() []string { return []string{"metrics", "rbac"} }

// Choice is a value of global that takes one of several words. The chart checks it, not the schema: below a parent
// chart the same key may be another chart's, with other words.
type Choice struct {
	Path   string
	Values []string
}

// Choices are those of global.
func Choices() []Choice {
	var all []Choice
	for f := range fields(reflect.TypeFor[Global](), "global") {
		if words, ok := f.rules["checked"]; ok {
			all = append(all, Choice{f.path, strings.Split(words, "|")})
		}
	}
	return all
}
