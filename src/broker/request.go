package broker

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// bearer is the token of the request, empty if there is none that could be one.
func bearer(r *http.Request) string {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || len(token) > limits.TokenBytes || strings.Count(token, ".") != 2 {
		return ""
	}
	return token
}

// readRequest reads and decodes the body, which has at most that many variables. Errors don't quote it.
func (c *call) readRequest(variables int) (wire.ResolveRequest, error) {
	body, err := c.readBody()
	if err != nil {
		return wire.ResolveRequest{}, err
	}
	return parse(body, variables)
}

// firstRead is the room for a body of usual length.
const firstRead = 4 << 10

// readBody reads in parts, and counts each part before it makes room for it, so that a body that does not come holds
// nothing.
func (c *call) readBody() ([]byte, error) {
	tooLong := fault.New(fault.Invalid, "the request is longer than %s", limits.Bytes(limits.AuthRequestBytes))
	if c.r.ContentLength > limits.AuthRequestBytes {
		return nil, tooLong
	}
	// Not every writer of a test has deadlines; those of a server have.
	_ = c.control.SetReadDeadline(time.Now().Add(limits.AuthRequestBodyTime))
	var body []byte
	for {
		if len(body) == cap(body) {
			room := min(max(firstRead, 2*cap(body)), limits.AuthRequestBytes+1)
			if err := c.holdRequest(room - cap(body)); err != nil {
				return nil, err
			}
			body = append(make([]byte, 0, room), body...)
		}
		n, err := c.r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > limits.AuthRequestBytes:
			return nil, tooLong
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, fault.New(fault.Invalid, "the request was cut off, or took longer than %s",
				limits.Duration(limits.AuthRequestBodyTime))
		}
	}
}

// parse decodes a request token by token, so that a body with too many variables is refused before they are made.
func parse(body []byte, variables int) (wire.ResolveRequest, error) {
	p := parser{Decoder: json.NewDecoder(bytes.NewReader(body)), most: min(variables, limits.VariablesPerRequest)}
	p.request.References = map[string]string{}
	err := p.object(p.field)
	if _, more := p.Token(); err == nil && !errors.Is(more, io.EOF) {
		err = errNoRequest
	}
	switch {
	case fault.KindOf(err) == fault.Invalid || fault.KindOf(err) == fault.Denied:
		return wire.ResolveRequest{}, err
	case err != nil:
		return wire.ResolveRequest{}, fault.New(fault.Invalid, "the request is not one of the injector's")
	case len(p.request.References) == 0:
		return wire.ResolveRequest{}, fault.New(fault.Invalid, "the request names no references")
	}
	return p.request, nil
}

// errNoRequest is for JSON of another form. The parser's own errors may quote what they read.
var errNoRequest = errors.New("not a request")

type parser struct {
	*json.Decoder
	request wire.ResolveRequest
	// most variables are taken, and seen were read.
	most, seen int
}

// object reads an object, and calls field with each name, which reads the value.
func (p *parser) object(field func(name string) error) error {
	if start, err := p.Token(); err != nil || start != json.Delim('{') {
		return errNoRequest
	}
	for p.More() {
		token, err := p.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return errNoRequest
		}
		if err := field(name); err != nil {
			return err
		}
	}
	_, err := p.Token()
	return err
}

// field reads a field of the request. Those of a newer injector are skipped.
func (p *parser) field(name string) error {
	switch name {
	case "references":
		return p.object(p.reference)
	case "check":
		return p.Decode(&p.request.Check)
	}
	var unknown json.RawMessage
	return p.Decode(&unknown)
}

func (p *parser) reference(variable string) error {
	if p.seen++; p.seen > p.most {
		return fault.New(fault.Denied,
			"the request has more variables than the %s that the pod's spec has; recreate the pod",
			limits.Count(int64(p.most)))
	}
	if len(variable) > limits.VariableNameBytes {
		return fault.New(fault.Invalid, "the request has a variable with a name of %s bytes; use at most %s",
			limits.Count(int64(len(variable))),
			limits.Count(limits.VariableNameBytes))
	}
	token, err := p.Token()
	text, ok := token.(string)
	if err != nil || !ok {
		return errNoRequest
	}
	p.request.References[variable] = text
	return nil
}
