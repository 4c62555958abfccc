package broker

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// handleError counts and logs an error, and writes it as the response.
func (c *podRequest) handleError(err error) {
	kind := fault.KindOf(err)
	c.Metrics.failedRequests.WithLabelValues(kind.Reason()).Inc()
	c.requestLog.writeLine(c.caller.Namespace, "refused", "namespace", c.caller.Namespace, "pod", c.caller.Pod,
		"remoteAddr", c.clientAddress,
		"reason", kind.Reason(),
		"error", truncateText(err.Error(), limits.AuthMessageBytes))
	c.writeError(err)
}

// writeError writes an error as the response. It withholds the text of an unclassified error, which can hold
// anything.
func (c *podRequest) writeError(err error) {
	kind, message := fault.KindOf(err), err.Error()
	if kind == fault.Bug {
		message = "the auth service failed; see the log of the env-injector"
	}
	after := (fault.RetryAfter(err) + time.Second - 1) / time.Second
	c.writeJSON(httpStatus(kind), wire.ErrorResponse{Kind: string(kind),
		Message:           truncateText(message, limits.AuthMessageBytes),
		RetryAfterSeconds: int(after),
		CanAppearLater:    fault.CanAppearLater(err)})
}

// httpStatus is the HTTP status of a fault. It helps people who inspect the traffic; the injector uses the kind.
func httpStatus(kind fault.Kind) int {
	codes := map[fault.Kind]int{
		fault.Invalid: http.StatusBadRequest, fault.Malformed: http.StatusUnprocessableEntity,
		fault.NotFound: http.StatusNotFound,
		fault.Disabled: http.StatusConflict, fault.Unauthenticated: http.StatusUnauthorized,
		fault.Denied:    http.StatusForbidden,
		fault.Throttled: http.StatusTooManyRequests, fault.Unavailable: http.StatusServiceUnavailable,
	}
	if code, ok := codes[kind]; ok {
		return code
	}
	return http.StatusInternalServerError
}

// writeJSON writes a small JSON response.
func (c *podRequest) writeJSON(code int, body any) {
	content, err := json.Marshal(body)
	if err != nil {
		code, content = http.StatusInternalServerError, nil
	}
	out := c.startResponse(code)
	_, _ = out.Write(content)
	_ = c.responseControl.Flush()
}

// startResponse writes the status and the headers, and returns a writer for the body.
func (c *podRequest) startResponse(code int) *deadlineWriter {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Cache-Control", "no-store")
	out := &deadlineWriter{c, time.Now().Add(limits.AuthAnswerTime)}
	out.extendDeadline()
	c.w.WriteHeader(code)
	return out
}

// responseChunkBytes is the number of bytes that are encoded and written at once. Base64 needs a multiple of 4.
const responseChunkBytes = 32 << 10

// writeValues writes a wire.ResolveResponse in parts, because a response in one piece would copy a value for every
// variable that has it. It returns when the client has read the response or a deadline has passed.
func (c *podRequest) writeValues(values map[string][]byte) {
	out := bufio.NewWriterSize(c.startResponse(http.StatusOK), responseChunkBytes)
	_, _ = out.WriteString(`{"values":{`)
	for i, variable := range slices.Sorted(maps.Keys(values)) {
		writeKey(out, variable, i > 0)
		if writeBase64(out, values[variable]) != nil {
			return // the client does not read the rest
		}
	}
	_, _ = out.WriteString("}}")
	if out.Flush() == nil {
		_ = c.responseControl.Flush()
	}
}

// writeKey writes a key of a JSON object with its colon, after a comma if it is not the first. The error of a buffered
// writer comes again with the next write.
func writeKey(out *bufio.Writer, key string, hasPredecessor bool) {
	if hasPredecessor {
		_ = out.WriteByte(',')
	}
	name, _ := json.Marshal(key) // a string cannot fail
	_, _ = out.Write(name)
	_ = out.WriteByte(':')
}

// writeBase64 writes bytes as a JSON string, in parts.
func writeBase64(out *bufio.Writer, content []byte) error {
	part := make([]byte, 0, responseChunkBytes)
	_ = out.WriteByte('"')
	for chunk := range slices.Chunk(content, responseChunkBytes/4*3) {
		if _, err := out.Write(base64.StdEncoding.AppendEncode(part[:0], chunk)); err != nil {
			return err
		}
	}
	return out.WriteByte('"')
}

// deadlineWriter sets a write deadline for each part of a response, and one for the whole response.
type deadlineWriter struct {
	*podRequest
	deadline time.Time
}

// Write implements io.Writer.
func (p *deadlineWriter) Write(content []byte) (int, error) {
	p.extendDeadline()
	return p.w.Write(content)
}

// extendDeadline sets the deadline of the next part. It ignores errors, because response writers of tests have no
// deadlines.
func (p *deadlineWriter) extendDeadline() {
	next := time.Now().Add(limits.AuthAnswerChunkTime)
	if next.After(p.deadline) {
		next = p.deadline
	}
	_ = p.responseControl.SetWriteDeadline(next)
}

// truncateText truncates a text that comes from outside this program.
func truncateText(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}
