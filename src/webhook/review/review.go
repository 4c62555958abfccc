package review

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// listKind is the kind of the elements of a JSON array.
type listKind int

const (
	otherList listKind = iota
	containerList
	variableList
)

// maxKeyLength is the maximum length of a known key in bytes: ephemeralContainers with every letter escaped as \u0000.
const maxKeyLength = 6 * len("ephemeralContainers")

// maxUIDLength is the maximum length of a UID in bytes. UIDs of the API server have 36.
const maxUIDLength = 128

// frame is an object or array that the scanner has entered and not left.
type frame struct {
	isArray bool
	list    listKind
	// key is the key of the next value of an object, if it is a known key, or empty.
	key string
	// expectsValue says that the scanner has read a key, so the next string of the object is a value.
	expectsValue bool
}

// counts has the numbers of elements in one document: the review without its objects, the object, or the old object.
// The last field counts objects and arrays in arrays other than those of containers and variables.
type counts struct{ elements, containers, variables, listedObjects int }

// scanner reads JSON once and counts its elements. It allocates no memory for them.
type scanner struct {
	text   []byte
	offset int
	stack  []frame
	// counts by document: "" is the review without its objects, the others are object and oldObject.
	counts map[string]*counts
	// document is the document at the current position.
	document string
	uid      string
	err      error
}

// Result has the UID and the estimated memory of a review.
type Result struct {
	// UID of the request, or empty. It is also set if a limit is exceeded after the UID, so that the rejection can be
	// sent as the answer to that request.
	UID string
	// MemoryBytes is an estimate of the bytes that it takes to decode and answer the review.
	MemoryBytes int64
}

// Check measures a review and applies the limits. The error is of kind fault.Invalid. It names the exceeded limit and
// quotes no part of the body.
func Check(body []byte) (Result, error) {
	s := &scanner{text: body, counts: map[string]*counts{"": {}}}
	if !startsWithObject(body) || !json.Valid(body) {
		// Kubernetes decoders also accept protobuf, and YAML, whose aliases can expand to any size.
		s.run() // a truncated review usually still has its UID
		return Result{UID: s.uid}, fault.New(fault.Invalid, "the request is not a JSON object")
	}
	s.run()
	elements := 0
	for _, c := range s.counts {
		elements += c.elements
	}
	return Result{UID: s.uid, MemoryBytes: int64(len(body))*limits.ReviewMemoryFactor +
			int64(elements)*limits.ReviewElementMemory},
		s.err
}

// startsWithObject says whether the first character of the JSON text opens an object.
func startsWithObject(body []byte) bool {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == '{'
}

// run scans the text to its end, or until a limit is exceeded.
func (s *scanner) run() {
	for s.offset < len(s.text) && s.err == nil {
		switch c := s.text[s.offset]; c {
		case '{', '[':
			s.openFrame(c == '[')
			s.offset++
		case '}', ']':
			s.closeFrame()
			s.offset++
		case '"':
			s.readString()
		case ',', ':', ' ', '\t', '\r', '\n':
			s.offset++
		default:
			s.countValue(false)
			s.skipScalar()
		}
	}
}

// skipScalar skips a number, true, false or null.
func (s *scanner) skipScalar() {
	for s.offset++; s.offset < len(s.text); s.offset++ {
		if strings.IndexByte(",]} \t\r\n", s.text[s.offset]) >= 0 {
			return
		}
	}
}

// openFrame enters an object or array and counts it.
func (s *scanner) openFrame(array bool) {
	s.countValue(true)
	of := otherList
	if parent := s.topFrame(); array && parent != nil && !parent.isArray {
		of = listKindOf(parent.key)
	}
	s.enterDocument()
	s.stack = append(s.stack, frame{isArray: array, list: of})
	if len(s.stack) > limits.ReviewDepth {
		s.reportExceeded("is nested more than %d levels deep", limits.ReviewDepth)
	}
}

// enterDocument starts the counts of the object or the old object of the request. A second one is an error, because
// decoders would merge it into the first.
func (s *scanner) enterDocument() {
	parent := s.topFrame()
	if len(s.stack) != 2 || parent.isArray || s.stack[0].key != "request" ||
		(parent.key != "object" && parent.key != "oldObject") {
		return
	}
	if s.counts[parent.key] != nil {
		s.reportExceeded("has a second %s", parent.key)
		return
	}
	s.document, s.counts[parent.key] = parent.key, &counts{}
}

// closeFrame leaves the current object or array.
func (s *scanner) closeFrame() {
	if len(s.stack) > 0 {
		s.stack = s.stack[:len(s.stack)-1]
	}
	if parent := s.topFrame(); parent != nil {
		parent.key, parent.expectsValue = "", false
	}
	if len(s.stack) <= 2 {
		s.document = ""
	}
}

// readString reads a string, which is a key or a value, and takes the UID of the request.
func (s *scanner) readString() {
	start, end := s.offset+1, s.offset+1
	for end < len(s.text) && s.text[end] != '"' {
		if s.text[end] == '\\' {
			end++
		}
		end++
	}
	s.offset = end + 1
	raw := s.text[min(start, len(s.text)):min(end, len(s.text))]
	if top := s.topFrame(); top != nil && !top.isArray && !top.expectsValue {
		s.countKey()
		top.key, top.expectsValue = knownKey(raw), true
		return
	}
	if top := s.topFrame(); len(s.stack) == 2 && !top.isArray && top.key == "uid" && s.stack[0].key == "request" &&
		len(raw) <= maxUIDLength {
		s.uid = string(raw)
	}
	s.countValue(false)
}

// countKey counts a key, which takes as much memory as a value in a map.
func (s *scanner) countKey() { s.updateCounts(func(c *counts) { c.elements++ }) }

// countValue counts a value by the kind of the array that holds it. The key of a value ends with it, but that of an
// object or array (opens) stays current until the object or array is closed.
func (s *scanner) countValue(opens bool) {
	top := s.topFrame()
	s.updateCounts(func(c *counts) {
		c.elements++
		if top == nil || !top.isArray {
			return
		}
		switch top.list {
		case containerList:
			c.containers++
		case variableList:
			c.variables++
		default:
			if opens {
				c.listedObjects++
			}
		}
	})
	if top != nil && !top.isArray && !opens {
		top.key, top.expectsValue = "", false
	}
}

// updateCounts changes the counts of the current document and applies their limits.
func (s *scanner) updateCounts(add func(*counts)) {
	c := s.counts[s.document]
	add(c)
	switch {
	case c.elements > limits.ReviewElements:
		s.reportExceeded("has more than %d keys and values", limits.ReviewElements)
	case c.containers > limits.ReviewContainers:
		s.reportExceeded("has more than %d containers", limits.ReviewContainers)
	case c.variables > limits.ReviewVariables:
		s.reportExceeded("has more than %d environment variables", limits.ReviewVariables)
	case c.listedObjects > limits.ReviewListItems:
		s.reportExceeded("has more than %d objects in lists", limits.ReviewListItems)
	}
}

// reportExceeded sets the error for a limit, unless an earlier limit was exceeded.
func (s *scanner) reportExceeded(format string, arg any) {
	if s.err != nil {
		return
	}
	of := "review"
	if s.document != "" {
		of = s.document
	}
	s.err = &fault.Error{Kind: fault.Invalid, Operation: fmt.Sprintf("the %s of the request "+format, of, arg),
		Next: "make the pod smaller"}
}

// topFrame is the current object or array, or nil outside of all.
func (s *scanner) topFrame() *frame {
	if len(s.stack) == 0 {
		return nil
	}
	return &s.stack[len(s.stack)-1]
}

// knownKey is the known key that the JSON text of a key stands for, or empty. Like encoding/json, it ignores letter
// case and resolves escapes.
func knownKey(raw []byte) string {
	if len(raw) > maxKeyLength {
		return ""
	}
	if bytes.IndexByte(raw, '\\') >= 0 {
		var text string
		if json.Unmarshal([]byte(`"`+string(raw)+`"`), &text) != nil {
			return ""
		}
		raw = []byte(text)
	}
	for _, known := range [...]string{"env", "envFrom", "containers", "initContainers", "ephemeralContainers",
		"request", "object", "oldObject", "uid"} {
		// A letter that folds to an ASCII letter has up to three bytes.
		if len(raw) >= len(known) && len(raw) <= 3*len(known) && strings.EqualFold(string(raw), known) {
			return known
		}
	}
	return ""
}

// listKindOf is the kind of an array by its key.
func listKindOf(key string) listKind {
	switch key {
	case "containers", "initContainers", "ephemeralContainers":
		return containerList
	case "env", "envFrom":
		return variableList
	}
	return otherList
}
