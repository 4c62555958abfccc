package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Document is one document of an input, or one item of a list.
type Document struct {
	// File is the name of the input, Number the position of the document in it, from 1.
	File   string
	Number int
	// Line is the first line of the document in the file, from 1.
	Line int

	root *yaml.Node
	// prefix is the path of the document in the list that has it; empty if it is none.
	prefix string
	// text is the document as it is in the input; empty for an item of a list.
	text string
	// offset is added to the lines of nodes.
	offset int
	// read are the leaves that were read or reported.
	read     map[*yaml.Node]bool
	problems []Problem
	isEdited bool
}

// Problem is a field that can't be read, such as a list where a text must be.
type Problem struct {
	Field Field
	// Text says what is wrong, without the value.
	Text string
}

// Reader reads inputs within the limits of one run.
type Reader struct {
	bytes, documents, elements int
}

// InputError is an error in an input. It never quotes a value.
type InputError struct {
	File           string
	Document, Line int
	Text           string
}

// Error implements error.
func (e *InputError) Error() string {
	switch {
	case e.Document == 0:
		return fmt.Sprintf("%s: %s", e.File, e.Text)
	case e.Line == 0:
		return fmt.Sprintf("%s: document %d: %s", e.File, e.Document, e.Text)
	}
	return fmt.Sprintf("%s: document %d, line %d: %s", e.File, e.Document, e.Line, e.Text)
}

// Read parses the documents of one input. Empty documents are left out. The items of a List are documents of their own.
// It returns an *InputError.
func (r *Reader) Read(file string, content []byte) ([]*Document, error) {
	if r.bytes += len(content); r.bytes > limits.ConvertBytes {
		return nil, &InputError{File: file, Text: fmt.Sprintf(
			"the input is larger than %s; convert fewer files at a time", limits.Bytes(limits.ConvertBytes))}
	}
	var all []*Document
	number := 0
	for _, part := range splitDocuments(string(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")))) {
		root, err := parsePart(part.text)
		if errors.Is(err, io.EOF) { // only comments
			continue
		}
		number++
		doc := &Document{File: file, Number: number, Line: part.line, text: part.text, offset: part.line - 1,
			read: map[*yaml.Node]bool{}}
		if err != nil {
			return nil, doc.errorOf(err)
		}
		if doc.root, err = r.expand(doc, root); err != nil {
			return nil, err
		}
		if isNull(doc.root) {
			number--
			continue
		}
		items, err := r.splitList(doc)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
	}
	return all, nil
}

// part is the text of one document.
type part struct {
	text string
	// line is its first line in the file.
	line int
}

// splitDocuments cuts a stream at the lines that begin with ---, which YAML allows only between documents.
func splitDocuments(content string) []part {
	var parts []part
	var current strings.Builder
	first, line := 1, 0
	for text := range strings.Lines(content) {
		line++
		if isSeparator(text) {
			parts = append(parts, part{current.String(), first})
			current.Reset()
			first = line
			if strings.TrimSpace(text) == "---" {
				first++
				continue
			}
		}
		current.WriteString(text)
	}
	return append(parts, part{current.String(), first})
}

func isSeparator(line string) bool {
	rest, ok := strings.CutPrefix(line, "---")
	return ok && (rest == "" || strings.ContainsAny(rest[:1], " \t\r\n"))
}

// parsePart returns the root of the one document in the text, or io.EOF if there is none.
func parsePart(text string) (*yaml.Node, error) {
	if strings.Count(text, "\n")+strings.Count(text, ",")+strings.Count(text, "[")+strings.Count(text, "{") >
		limits.ConvertElements {
		return nil, errTooManyElements
	}
	decoder := yaml.NewDecoder(strings.NewReader(text))
	var document, more yaml.Node
	if err := decoder.Decode(&document); err != nil {
		return nil, err
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("there is text after the end of the document; begin the next document with ---")
		}
		return nil, err
	}
	return document.Content[0], nil
}

var errTooManyElements = fmt.Errorf("the input has more than %s keys, values and list items; convert fewer files at a "+
	"time", limits.Count(limits.ConvertElements))

// yamlLine matches the line in an error of the YAML library.
var yamlLine = regexp.MustCompile(`^line (\d+): `)

// errorOf adds the place to an error of the YAML library, whose messages name syntax and anchors but no values.
func (d *Document) errorOf(err error) *InputError {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := d.Line
	if match := yamlLine.FindStringSubmatch(text); match != nil {
		n, _ := strconv.Atoi(match[1])
		line, text = d.offset+n, text[len(match[0]):]
		if strings.HasPrefix(text, "did not find expected") { // the library counts from 0 in these
			line++
		}
	}
	return &InputError{File: d.File, Document: d.Number, Line: line, Text: text}
}

// errorAt is an error at a node.
func (d *Document) errorAt(node *yaml.Node, format string, args ...any) *InputError {
	return &InputError{File: d.File, Document: d.Number, Line: d.offset + node.Line, Text: fmt.Sprintf(format, args...)}
}

// splitList returns the items of a List, or the document itself if it is none.
func (r *Reader) splitList(doc *Document) ([]*Document, error) {
	root := Field{doc: doc, node: doc.root}
	items := child(doc.root, "items")
	if items == nil || items.Kind != yaml.SequenceNode || !strings.HasSuffix(root.Get("kind").Text(), "List") {
		return []*Document{doc}, r.countDocument(doc)
	}
	var all []*Document
	for i, item := range items.Content {
		one := &Document{File: doc.File, Number: doc.Number, Line: doc.offset + item.Line, root: item,
			prefix: fmt.Sprintf("items[%d]", i), offset: doc.offset, read: map[*yaml.Node]bool{}}
		if err := r.countDocument(one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (r *Reader) countDocument(doc *Document) error {
	if r.documents++; r.documents > limits.ConvertDocuments {
		return doc.errorAt(doc.root, "the input has more than %s documents; convert fewer files at a time",
			limits.Count(limits.ConvertDocuments))
	}
	return nil
}

// Nested parses a YAML text that is the value of a field. Its fields count as fields of the document: their lines
// follow the line of the field.
func (r *Reader) Nested(f Field) (*Document, error) {
	text := f.Text()
	doc := &Document{File: f.doc.File, Number: f.doc.Number, Line: f.Line(), prefix: f.path, offset: f.nestedOffset(),
		read: map[*yaml.Node]bool{}}
	root, err := parsePart(text)
	if errors.Is(err, io.EOF) {
		doc.root = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: 1}
		return doc, nil
	}
	if err != nil {
		return nil, doc.errorOf(err)
	}
	doc.root, err = r.expand(doc, root)
	return doc, err
}
