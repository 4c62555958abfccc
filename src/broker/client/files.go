package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

const headerIfNoneMatch = "If-None-Match"

// FilesAnswer is the answer to a request for the files of a pod.
type FilesAnswer struct {
	// IsUnchanged says that the files are those of the ETag of the request. Directories is nil then.
	IsUnchanged bool
	// Directories has the files of each directory by slash-separated relative path. Their names, paths and modes are
	// not checked.
	Directories map[string]map[string]wire.FileContent
	// ETag identifies the content, for the next request; empty if the answer has none that is usable.
	ETag string
	// RefreshAfter is the time until the next request, from limits.FilesRefreshMin to limits.FilesRefreshMax; 0 for
	// never.
	RefreshAfter time.Duration
}

// Files returns the files of the pod, or that they are those of etag, which can be empty. It closes its connection,
// because the next request is at least a minute away. Errors are of package fault.
func (c *Client) Files(ctx context.Context, etag string) (FilesAnswer, error) {
	request, err := c.newRequest(ctx, http.MethodGet, wire.FilesPath, nil)
	if err != nil {
		return FilesAnswer{}, err
	}
	request.Close = true
	if etag != "" {
		request.Header.Set(headerIfNoneMatch, etag)
	}
	var answer FilesAnswer
	err = c.sendRequest(request, func(response *http.Response) error {
		answer.RefreshAfter = parseRefreshAfter(response.Header.Get(wire.HeaderRefreshAfter))
		if response.StatusCode == http.StatusNotModified {
			answer.IsUnchanged, answer.ETag = true, etag
			return nil
		}
		answer.ETag = usableETag(response.Header.Get("ETag"))
		var err error
		answer.Directories, err = parseFiles(response.Body)
		return err
	})
	if err != nil {
		return FilesAnswer{}, err
	}
	return answer, nil
}

// parseRefreshAfter returns the time of the header. A header that is missing or invalid must neither end the refreshes
// nor cause many.
func parseRefreshAfter(text string) time.Duration {
	seconds, err := strconv.ParseInt(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && seconds > 0:
		return limits.FilesRefreshMax
	case err != nil || seconds < 0:
		return limits.FilesRefreshDefault
	case seconds == 0:
		return 0
	}
	seconds = min(seconds, int64(limits.FilesRefreshMax/time.Second))
	return max(time.Duration(seconds)*time.Second, limits.FilesRefreshMin)
}

// usableETag returns an ETag that can be sent back as it is, or an empty text. Without it, the next answer has all
// files.
func usableETag(etag string) string {
	isUnusable := func(r rune) bool { return r <= ' ' || r > '~' }
	if len(etag) > limits.FilesETagBytes || strings.ContainsFunc(etag, isUnusable) {
		return ""
	}
	return etag
}

// filesReader reads at most so many bytes, and remembers why it ended early.
type filesReader struct {
	from io.Reader
	left int64
	err  error
}

func (r *filesReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if r.left -= int64(n); r.left < 0 {
		n, err = 0, errors.New("too long")
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// parseFiles decodes a wire.FilesResponse. It holds one file at a time in JSON, and stops at the first that exceeds a
// limit. No error has a part of the content.
func parseFiles(body io.Reader) (map[string]map[string]wire.FileContent, error) {
	reader := &filesReader{from: body, left: limits.FilesAnswerBytes}
	p := filesParser{decoder: json.NewDecoder(reader)}
	err := p.parse()
	switch {
	case reader.err != nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fault.New(fault.Unavailable, "the response of the auth service was cut off or is too long")
	case fault.KindOf(err) == fault.Invalid:
		return nil, err
	case err != nil || p.directories == nil:
		return nil, fault.New(fault.Bug, "the response of the auth service is not JSON with files")
	}
	return p.directories, nil
}

// filesParser parses the tokens of a wire.FilesResponse.
type filesParser struct {
	decoder     *json.Decoder
	directories map[string]map[string]wire.FileContent
	files       int
	bytes       int
}

var errNotFiles = errors.New("not the files of a pod")

// parse parses the whole input.
func (p *filesParser) parse() error {
	err := p.eachKey(func(key string) error {
		if key != "directories" {
			var other json.RawMessage
			return p.decoder.Decode(&other)
		}
		if p.directories != nil {
			return errNotFiles
		}
		p.directories = map[string]map[string]wire.FileContent{}
		return p.eachKey(p.parseDirectory)
	})
	if err != nil {
		return err
	}
	if _, err := p.decoder.Token(); !errors.Is(err, io.EOF) {
		return errNotFiles
	}
	return nil
}

// eachKey parses an object, whose values are parsed by visit.
func (p *filesParser) eachKey(visit func(key string) error) error {
	if token, err := p.decoder.Token(); err != nil || token != json.Delim('{') {
		return cmp.Or(err, errNotFiles)
	}
	for p.decoder.More() {
		token, err := p.decoder.Token()
		key, isText := token.(string)
		if err != nil || !isText {
			return cmp.Or(err, errNotFiles)
		}
		if err := visit(key); err != nil {
			return err
		}
	}
	_, err := p.decoder.Token()
	return err
}

// parseDirectory parses the files of one directory.
func (p *filesParser) parseDirectory(name string) error {
	if p.directories[name] != nil {
		return errNotFiles
	}
	if len(p.directories) == limits.PodFileDirectories {
		return fault.New(fault.Invalid, "the pod has more than %s directories with files; use fewer",
			limits.Count(limits.PodFileDirectories))
	}
	files := map[string]wire.FileContent{}
	p.directories[name] = files
	return p.eachKey(func(path string) error {
		var file wire.FileContent
		if err := p.decoder.Decode(&file); err != nil {
			return err
		}
		if _, isTwice := files[path]; isTwice {
			return errNotFiles
		}
		if p.files++; p.files > limits.FilesInAnswer {
			return fault.New(fault.Invalid, "the pod has more than %s files; use fewer, or smaller folders",
				limits.Count(limits.FilesInAnswer))
		}
		if p.bytes += len(file.Content); p.bytes > limits.FilesBytes {
			return fault.New(fault.Invalid, "the files of the pod have more than %s; use fewer or smaller values",
				limits.Bytes(limits.FilesBytes))
		}
		files[path] = file
		return nil
	})
}
