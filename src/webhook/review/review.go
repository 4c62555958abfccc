package review

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// list says what an array holds.
type list int

const (
	otherList list = iota
	containerList
	variableList
)

// longestKey is the longest text of a key that can be one of ours: every letter of ephemeralContainers as \u0000.
const longestKey = 6 * len("ephemeralContainers")

// maxUID is the length of a UID, with room for forms that are not those of the API server.
const maxUID = 128

// frame is an object or array that is not closed yet.
type frame struct {
	array bool
	list  list
	// key is the name of the value that comes next in an object, if it is one that the scanner knows.
	key string
	// named says that the next string of an object is a value and not a key.
	named bool
}

// counts are those of one of the documents in a review: the review itself, the object, or the old object.
type counts struct{ elements, containers, variables, listed int }

// scanner walks over valid JSON once, without allocating for what it finds.
type scanner struct {
	text  []byte
	at    int
	stack []frame
	// counts of the review itself, object and oldObject.
	counts map[string]*counts
	// inside is the document that is being read.
	inside string
	uid    string
	err    error
}

// Size is what was found out about a review.
type Size struct {
	// UID of the request, also if a limit was exceeded, so that the refusal can be sent as an answer to that request.
	UID string
	// Memory is how many bytes decoding the review and answering it may take, roughly.
	Memory int64
}

// Check measures a review. The error says which limit was exceeded, and quotes nothing.
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

func startsObject(body []byte) bool {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == '{'
}

// run reads until the end, or until a limit is exceeded.
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

// enter begins to count a document of its own. Only one of each is taken: decoders would merge the second into the
// first.
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

// str reads a string: a key or a value.
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

// elementKey counts a key, which costs as much as a value in a map.
func (s *scanner) elementKey() { s.count(func(c *counts) { c.elements++ }) }

// element counts a value where it stands, and ends the key that it belongs to unless it is one that opens.
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

func (s *scanner) top() *frame {
	if len(s.stack) == 0 {
		return nil
	}
	return &s.stack[len(s.stack)-1]
}

// keyOf is the known key that a decoder may take the text for, in whatever letter case and with whatever escapes it is
// written.
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
		// folded letters have up to three bytes
		if len(raw) >= len(known) && len(raw) <= 3*len(known) && strings.EqualFold(string(raw), known) {
			return known
		}
	}
	return ""
}

func listOf(key string) list {
	switch key {
	case "containers", "initContainers", "ephemeralContainers":
		return containerList
	case "env", "envFrom":
		return variableList
	}
	return otherList
}
