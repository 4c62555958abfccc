package manifest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Field is a place in a document: a value, or the place of a missing one. The zero Field is a missing one.
type Field struct {
	doc  *Document
	node *yaml.Node
	path string
	// Key is the key of the field in its mapping; empty for items and roots.
	Key     string
	keyNode *yaml.Node
}

// KeyNode returns the YAML node of the key, with its comments; nil for items and roots.
func (f Field) KeyNode() *yaml.Node { return f.keyNode }

// Root returns the whole document.
func (d *Document) Root() Field { return Field{doc: d, node: d.root, path: d.prefix} }

// Problems returns the fields that had another type than was read.
func (d *Document) Problems() []Problem { return d.problems }

// Unread returns what was neither read nor discarded, in the order of the document: a whole field if nothing in it was
// read, otherwise the values in it. Null values, which mean the same as missing fields, are left out.
func (d *Document) Unread() []Field {
	states := map[*yaml.Node]readState{}
	d.stateOf(d.root, states)
	return d.Root().unreadBelow(states, nil)
}

// readState tells which values of a field were read.
type readState struct{ hasRead, hasUnread bool }

// stateOf returns the state of a node, and adds those of the mappings and lists in it to the states.
func (d *Document) stateOf(node *yaml.Node, states map[*yaml.Node]readState) readState {
	if isLeaf(node) {
		isRead := d.read[node]
		return readState{hasRead: isRead, hasUnread: !isRead && !isNull(node)}
	}
	var state readState
	for i, below := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 0 {
			continue // a key
		}
		one := d.stateOf(below, states)
		state.hasRead, state.hasUnread = state.hasRead || one.hasRead, state.hasUnread || one.hasUnread
	}
	states[node] = state
	return state
}

// unreadBelow adds the unread fields of a field to a list.
func (f Field) unreadBelow(states map[*yaml.Node]readState, all []Field) []Field {
	state, isInner := states[f.node]
	if !isInner {
		state = f.doc.stateOf(f.node, nil)
	}
	switch {
	case !state.hasUnread:
	case !isInner || !state.hasRead && f.path != f.doc.prefix:
		all = append(all, f)
	case f.node.Kind == yaml.MappingNode:
		for _, below := range f.pairs() {
			all = below.unreadBelow(states, all)
		}
	default:
		for i := range f.node.Content {
			all = f.item(i).unreadBelow(states, all)
		}
	}
	return all
}

// isLeaf reports whether a node has no values in it.
func isLeaf(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode || len(node.Content) == 0 }

// LeafPaths returns the paths of all values but null.
func (d *Document) LeafPaths() []string {
	var all []string
	d.Root().visitLeaves(func(f Field) {
		if !isNull(f.node) {
			all = append(all, f.Path())
		}
	})
	return all
}

func (f Field) visitLeaves(visit func(Field)) {
	switch {
	case f.node == nil:
	case f.node.Kind == yaml.MappingNode && len(f.node.Content) > 0:
		for _, below := range f.pairs() {
			below.visitLeaves(visit)
		}
	case f.node.Kind == yaml.SequenceNode && len(f.node.Content) > 0:
		for i := range f.node.Content {
			f.item(i).visitLeaves(visit)
		}
	default:
		visit(f)
	}
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

// Exists reports whether the field has a value other than null.
func (f Field) Exists() bool { return f.node != nil && !isNull(f.node) }

// IsMapping reports whether the field has fields of its own.
func (f Field) IsMapping() bool { return f.node != nil && f.node.Kind == yaml.MappingNode }

// IsList reports whether the field is a list.
func (f Field) IsList() bool { return f.node != nil && f.node.Kind == yaml.SequenceNode }

// IsText reports whether the field is a scalar: a text, number or boolean.
func (f Field) IsText() bool { return f.Exists() && f.node.Kind == yaml.ScalarNode }

// Node returns the YAML node of the field, nil if it is missing. It does not mark the field as read.
func (f Field) Node() *yaml.Node { return f.node }

// Document returns the document of the field.
func (f Field) Document() *Document { return f.doc }

// Line returns the line of the field in its file; 0 if it is missing.
func (f Field) Line() int {
	if f.node == nil {
		return 0
	}
	return f.doc.offset + f.node.Line
}

// nestedOffset is the number of lines before a text in the field. A block scalar begins in the line after its
// indicator.
func (f Field) nestedOffset() int {
	if f.node != nil && f.node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return f.Line()
	}
	return f.Line() - 1
}

// Path returns the path of the field, such as spec.data[0].secretKey. A long one is truncated.
func (f Field) Path() string {
	if len(f.path) > limits.ConvertPathBytes {
		return strings.ToValidUTF8(f.path[:limits.ConvertPathBytes], "") + "…"
	}
	return f.path
}

// plainKey matches keys that need no quotes in a path.
var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

func joinPath(path, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// child returns the value of a key in a mapping, nil if there is none.
func child(node *yaml.Node, key string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}

// Get returns the field below the keys. A value on the way that has no fields is a problem of the document.
func (f Field) Get(keys ...string) Field {
	for _, key := range keys {
		if f.Exists() && !f.IsMapping() {
			f.reject("must have fields")
		}
		f = Field{doc: f.doc, node: child(f.node, key), path: joinPath(f.path, key), Key: key}
	}
	return f
}

// reject records that the field has the wrong type, and marks what is in it as read, because it is reported.
func (f Field) reject(text string) {
	f.Discard()
	for _, known := range f.doc.problems {
		if known.Field.node == f.node {
			return
		}
	}
	f.doc.problems = append(f.doc.problems, Problem{f, text})
}

// Text reads a scalar as text: a number or boolean as it is written. It is empty if the field is missing.
func (f Field) Text() string {
	if !f.Exists() {
		return ""
	}
	if f.node.Kind != yaml.ScalarNode {
		f.reject("must be a text")
		return ""
	}
	f.doc.read[f.node] = true
	return f.node.Value
}

// Peek returns a scalar as text without marking it as read. It is empty if there is none.
func (f Field) Peek() string {
	if !f.IsText() {
		return ""
	}
	return f.node.Value
}

// Bool reads a boolean, also in quotes. It is false if the field is missing.
func (f Field) Bool() bool {
	text := f.Text()
	if text == "" {
		return false
	}
	value, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(text)))
	if err != nil {
		f.reject("must be true or false")
	}
	return value
}

// Items returns the items of a list. Reading them is up to the caller.
func (f Field) Items() []Field {
	if !f.Exists() {
		return nil
	}
	if f.node.Kind != yaml.SequenceNode {
		f.reject("must be a list")
		return nil
	}
	if len(f.node.Content) == 0 {
		f.doc.read[f.node] = true
	}
	var all []Field
	for i := range f.node.Content {
		all = append(all, f.item(i))
	}
	return all
}

func (f Field) item(i int) Field {
	return Field{doc: f.doc, node: f.node.Content[i], path: fmt.Sprintf("%s[%d]", f.path, i)}
}

// Fields returns the fields of a mapping. Reading them is up to the caller.
func (f Field) Fields() []Field {
	if !f.Exists() {
		return nil
	}
	if f.node.Kind != yaml.MappingNode {
		f.reject("must have fields")
		return nil
	}
	if len(f.node.Content) == 0 {
		f.doc.read[f.node] = true
	}
	return f.pairs()
}

func (f Field) pairs() []Field {
	var all []Field
	for i := 0; i+1 < len(f.node.Content); i += 2 {
		key := f.node.Content[i].Value
		all = append(all, Field{doc: f.doc, node: f.node.Content[i+1], path: joinPath(f.path, key), Key: key,
			keyNode: f.node.Content[i]})
	}
	return all
}

// TextMap reads a mapping of texts; nil if it is missing or empty.
func (f Field) TextMap() map[string]string {
	var all map[string]string
	for _, below := range f.Fields() {
		if all == nil {
			all = map[string]string{}
		}
		all[below.Key] = below.Text()
	}
	return all
}

// Texts reads a list of texts.
func (f Field) Texts() []string {
	var all []string
	for _, item := range f.Items() {
		all = append(all, item.Text())
	}
	return all
}

// Discard marks all values of the field as read. Use it for what is reported, and for what has no meaning outside of
// its cluster.
func (f Field) Discard() {
	if f.node != nil {
		f.doc.markRead(f.node)
	}
}

func (d *Document) markRead(node *yaml.Node) {
	if isLeaf(node) {
		d.read[node] = true
		return
	}
	for i, below := range node.Content {
		if node.Kind != yaml.MappingNode || i%2 == 1 {
			d.markRead(below)
		}
	}
}

// IsUnread reports whether the field has a value, and nothing of it was read.
func (f Field) IsUnread() bool {
	return f.Exists() && !f.doc.stateOf(f.node, map[*yaml.Node]readState{}).hasRead
}

// VisitTexts visits all scalars of the field.
func (f Field) VisitTexts(visit func(Field)) {
	f.visitLeaves(func(leaf Field) {
		if leaf.IsText() {
			visit(leaf)
		}
	})
}
