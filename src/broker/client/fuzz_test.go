package client

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

func FuzzFiles(f *testing.F) {
	for _, seed := range []string{"", "null", "{}", `{"directories":{}}`, `{"directories":{"app":{"a/b":{"content":"aHVudGVyMg==","mode":256}}}}`,
		`{"x":[[{}]],"directories":{"a":{"b":{}},"c":{"d":{"mode":1}}}} `, `{"directories":{"a":{"` + strings.Repeat("x/", 400) + `":{}}}}`,
		`{"directories":{"\ud800":{"\u0000":{"content":null}}}}`, `{"directories":{"a":{"b":{"content":"` + strings.Repeat("QUJD", 5000) + `"}}}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		// The decoder holds a file twice while its buffer grows. Small objects cost more than their text.
		budget := fuzzbudget.Budget{Time: time.Second, Bytes: 1 << 20, PerByte: 100}
		fuzzbudget.Check(t, budget, len(body), func() {
			directories, err := parseFiles(bytes.NewReader(body))
			if (err == nil) != (directories != nil) {
				t.Fatalf("%d directories with the error %v", len(directories), err)
			}
			if kind := fault.KindOf(err); err != nil && kind != fault.Bug && kind != fault.Unavailable && kind != fault.Invalid {
				t.Fatalf("the kind of %v is %s", err, kind)
			}
			files, size := 0, 0
			for _, directory := range directories {
				for _, file := range directory {
					files, size = files+1, size+len(file.Content)
				}
			}
			if len(directories) > limits.PodFileDirectories || files > limits.FilesInAnswer || size > limits.FilesBytes {
				t.Fatalf("%d directories, %d files and %d bytes", len(directories), files, size)
			}
		})
	})
}

func TestAnAnswerThatFailsInTheMiddleIsRetried(t *testing.T) {
	const text = `{"directories":{"app":{"a":{"content":"QUJD"}}}}`
	for end := range text {
		body := io.MultiReader(strings.NewReader(text[:end]), iotest.ErrReader(errors.New("connection reset")))
		_, err := parseFiles(body)
		assert.Equal(t, fault.Unavailable, fault.KindOf(err), text[:end])
		_, err = parseFiles(strings.NewReader(text[:end]))
		assert.Equal(t, fault.Unavailable, fault.KindOf(err), text[:end])
	}
}
