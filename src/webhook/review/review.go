package review

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// list is the kind of the elements of a JSON array.
type list int

const (
	otherList list = iota
	containerList
	variableList
)

// longestKey is the maximum length of a known key in bytes: ephemeralContainers with every letter escaped as \u0000.
const longestKey = 6 * len("ephemeralContainers")

// maxUID is the maximum length of a UID in bytes. UIDs of the API server have 36.
const maxUID = 128

// frame is an object or array that the scanner has entered and not left.
type frame struct {
	array bool
	list  list
	// key is the key of the next value of an object, if it is a known key, or empty.
	key string
	// named says that the scanner has read a key, so the next string of the object is a value.
	named bool
}

// counts has the numbers of elements in one document: the review without its objects, the object, or the old object.
// The last field counts objects and arrays in arrays other than those of containers and variables.
type counts struct{ elements, containers, variables, listed int }

// scanner reads JSON once and counts its elements. It allocates no memory for them.
type scanner struct {
	text  []byte
	at    int
	stack []frame
	// counts by document: "" is the review without its objects, the others are object and oldObject.
	counts map[string]*counts
	// inside is the document at the current position.
	inside string
	uid    string
	err    error
}

// Size has the UID and the estimated memory of a review.
type Size struct {
	// UID of the request, or empty. It is also set if a limit is exceeded after the UID, so that the rejection can be
	// sent as the answer to that request.
	UID string
	// Memory is an estimate of the bytes that it takes to decode and answer the review.
	Memory int64
}

// Check measures a review and applies the limits. The error is of kind fault.Invalid. It names the exceeded limit and
// quotes no part of the body.
func Check(body []byte) (Size, error) {
	s := &scanner{text: body, counts: map[string]*counts{"": {}}}
	if !startsObject(body) || !json.Valid(body) {
		// Kubernetes decoders also accept protobuf, and YAML, whose aliases can expand to any size.
		s.run() // a truncated review usually still has its UID
		return Size{UID: s.uid}, fault.New(fault.Invalid, "the request is not a JSON object")
	}
	s.run()
	elements := 0
	for _, c := range s.counts {
		elements += c.elements
	}
	return Size{UID: s.uid, Memory: int64(len(body))*limits.ReviewWeight + int64(elements)*limits.ReviewElementWeight},
		s.err
}

// startsObject says whether the first character of the JSON text opens an object.
func startsObject(body []byte) bool {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == '{'
}

// run scans the text to its end, or until a limit is exceeded.
func (s *scanner) run() {
	for s.at < len(s.text) && s.err == nil {
		switch c := s.text[s.at]; c {
		case '{', '[':
			s.open(c == '[')
			s.at++
		case '}', ']':
			s.closeFrame()
			s.at++
		case '"':
			s.str()
		case ',', ':', ' ', '\t', '\r', '\n':
			s.at++
		default:
			s.element(false)
			s.scalar()
		}
	}
}

// scalar skips a number, true, false or null.
func (s *scanner) scalar() {
	for s.at++; s.at < len(s.text); s.at++ {
		if strings.IndexByte(",]} \t\r\n", s.text[s.at]) >= 0 {
			return
		}
	}
}

// open enters an object or array and counts it.
func (s *scanner) open(array bool) {
	s.element(true)
	of := otherList
	if parent := s.top(); array && parent != nil && !parent.array {
		of = listOf(parent.key)
	}
	s.enter()
	s.stack = append(s.stack, frame{array: array, list: of})
	if len(s.stack) > limits.ReviewDepth {
		s.exceeded("is nested more than %d levels deep", limits.ReviewDepth)
	}
}

// enter starts the counts of the object or the old object of the request. A second one is an error, because decoders
// would merge it into the first.
func (s *scanner) enter() {
	parent := s.top()
	if len(s.stack) != 2 || parent.array || s.stack[0].key != "request" ||
		(parent.key != "object" && parent.key != "oldObject") {
		return
	}
	if s.counts[parent.key] != nil {
		s.exceeded("has a second %s", parent.key)
		return
	}
	s.inside, s.counts[parent.key] = parent.key, &counts{}
}

// closeFrame leaves the current object or array.
func (s *scanner) closeFrame() {
	if len(s.stack) > 0 {
		s.stack = s.stack[:len(s.stack)-1]
	}
	if parent := s.top(); parent != nil {
		parent.key, parent.named = "", false
	}
	if len(s.stack) <= 2 {
		s.inside = ""
	}
}

// str reads a string, which is a key or a value, and takes the UID of the request.
func (s *scanner) str() {
	start, end := s.at+1, s.at+1
	for end < len(s.text) && s.text[end] != '"' {
		if s.text[end] == '\\' {
			end++
		}
		end++
	}
	s.at = end + 1
	raw := s.text[min(start, len(s.text)):min(end, len(s.text))]
	if top := s.top(); top != nil && !top.array && !top.named {
		s.elementKey()
		top.key, top.named = keyOf(raw), true
		return
	}
	if top := s.top(); len(s.stack) == 2 && !top.array && top.key == "uid" && s.stack[0].key == "request" &&
		len(raw) <= maxUID {
		s.uid = string(raw)
	}
	s.element(false)
}

// elementKey counts a key, which takes as much memory as a value in a map.
func (s *scanner) elementKey() { s.count(func(c *counts) { c.elements++ }) }

// element counts a value by the kind of the array that holds it. The key of a value ends with it, but that of an object
// or array (opens) stays current until the object or array is closed.
func (s *scanner) element(opens bool) {
	top := s.top()
	s.count(func(c *counts) {
		c.elements++
		if top == nil || !top.array {
			return
		}
		switch top.list {
		case containerList:
			c.containers++
		case variableList:
			c.variables++
		default:
			if opens {
				c.listed++
			}
		}
	})
	if top != nil && !top.array && !opens {
		top.key, top.named = "", false
	}
}

// count changes the counts of the current document and applies their limits.
func (s *scanner) count(add func(*counts)) {
	c := s.counts[s.inside]
	add(c)
	switch {
	case c.elements > limits.ReviewElements:
		s.exceeded("has more than %d keys and values", limits.ReviewElements)
	case c.containers > limits.ReviewContainers:
		s.exceeded("has more than %d containers", limits.ReviewContainers)
	case c.variables > limits.ReviewVariables:
		s.exceeded("has more than %d environment variables", limits.ReviewVariables)
	case c.listed > limits.ReviewListed:
		s.exceeded("has more than %d objects in lists", limits.ReviewListed)
	}
}

// exceeded sets the error for a limit, unless an earlier limit was exceeded.
func (s *scanner) exceeded(format string, arg any) {
	if s.err != nil {
		return
	}
	of := "review"
	if s.inside != "" {
		of = s.inside
	}
	s.err = &fault.Error{Kind: fault.Invalid, Doing: fmt.Sprintf("the %s of the request "+format, of, arg),
		Next: "make the pod smaller"}
}

// top is the current object or array, or nil outside of all.
func (s *scanner) top() *frame {
	if len(s.stack) == 0 {
		return nil
	}
	return &s.stack[len(s.stack)-1]
}

// keyOf is the known key that the JSON text of a key stands for, or empty. Like encoding/json, it ignores letter case
// and resolves escapes.
func keyOf(raw []byte) string {
	if len(raw) > longestKey {
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

// listOf is the kind of an array by its key.
func listOf(key string) list {
	switch key {
	case "containers", "initContainers", "ephemeralContainers":
		return containerList
	case "env", "envFrom":
		return variableList
	}
	return otherList
}
