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

// Needed are the paths of keys that must have a value, and of sections that must be there: the defaults give them, unless a user takes them away.
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
