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

// bearerToken returns the bearer token of the request. It returns "" if the header holds nothing of the form of a JWT.
func bearerToken(r *http.Request) string {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || len(token) > limits.TokenBytes || strings.Count(token, ".") != 2 {
		return ""
	}
	return token
}

// initialBodyBytes is the initial buffer size in bytes, enough for a body of typical length.
const initialBodyBytes = 4 << 10

// readBody reads the body in parts and reserves memory for each part before it allocates it, so that a client that
// announces a long body but does not send it holds little memory.
func (c *podRequest) readBody() ([]byte, error) {
	tooLong := fault.New(fault.Invalid, "the request is longer than %s", limits.Bytes(limits.AuthRequestBytes))
	if c.r.ContentLength > limits.AuthRequestBytes {
		return nil, tooLong
	}
	// The error is ignored, because response writers of tests have no deadlines.
	_ = c.responseControl.SetReadDeadline(time.Now().Add(limits.AuthRequestBodyTime))
	var body []byte
	for {
		if len(body) == cap(body) {
			room := min(max(initialBodyBytes, 2*cap(body)), limits.AuthRequestBytes+1)
			if err := c.reserveRequestMemory(room - cap(body)); err != nil {
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
			return nil, fault.New(fault.Invalid, "the request was cut off or took longer than %s",
				limits.Duration(limits.AuthRequestBodyTime))
		}
	}
}

// parseRequest decodes a request token by token, so that it rejects a body with too many variables before it allocates
// them. variables is the maximum number of variables. Errors do not quote the body.
func parseRequest(body []byte, variables int) (wire.ResolveRequest, error) {
	p := requestParser{Decoder: json.NewDecoder(bytes.NewReader(body)),
		maxVariables: min(variables, limits.VariablesPerRequest)}
	p.request.References = map[string]string{}
	err := p.parseObject(p.parseField)
	if _, more := p.Token(); err == nil && !errors.Is(more, io.EOF) {
		err = errMalformedRequest
	}
	switch {
	case fault.KindOf(err) == fault.Invalid || fault.KindOf(err) == fault.Denied:
		return wire.ResolveRequest{}, err
	case err != nil:
		return wire.ResolveRequest{}, fault.New(fault.Invalid, "the request body is not a request of the injector")
	case len(p.request.References) == 0:
		return wire.ResolveRequest{}, fault.New(fault.Invalid, "the request has no references")
	}
	return p.request, nil
}

// errMalformedRequest is returned for JSON of another form, in place of the decoder's errors, which can quote the body.
var errMalformedRequest = errors.New("not a request")

// requestParser decodes a wire.ResolveRequest.
type requestParser struct {
	*json.Decoder
	request wire.ResolveRequest
	// maxVariables is the maximum number of variables, seen the number read so far.
	maxVariables, seenVariables int
}

// parseObject reads a JSON object and calls field with each name. field reads the value.
func (p *requestParser) parseObject(field func(name string) error) error {
	if start, err := p.Token(); err != nil || start != json.Delim('{') {
		return errMalformedRequest
	}
	for p.More() {
		token, err := p.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return errMalformedRequest
		}
		if err := field(name); err != nil {
			return err
		}
	}
	_, err := p.Token()
	return err
}

// parseField reads a field of the request. It skips unknown fields, which a newer injector can send.
func (p *requestParser) parseField(name string) error {
	switch name {
	case "references":
		return p.parseObject(p.parseReference)
	case "check":
		return p.Decode(&p.request.CheckOnly)
	}
	var unknown json.RawMessage
	return p.Decode(&unknown)
}

// parseReference reads the reference of a variable.
func (p *requestParser) parseReference(variable string) error {
	if p.seenVariables++; p.seenVariables > p.maxVariables {
		return fault.New(fault.Denied,
			"the request has more variables than the pod's spec, which has %s; recreate the pod",
			limits.Count(int64(p.maxVariables)))
	}
	if len(variable) > limits.VariableNameBytes {
		return fault.New(fault.Invalid, "the request has a variable name of %s bytes; use at most %s",
			limits.Count(int64(len(variable))),
			limits.Count(limits.VariableNameBytes))
	}
	token, err := p.Token()
	text, ok := token.(string)
	if err != nil || !ok {
		return errMalformedRequest
	}
	p.request.References[variable] = text
	return nil
}
