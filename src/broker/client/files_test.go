package client_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/broker/client"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

const oneFile = `{"directories":{"app":{"tls.key":{"content":"aHVudGVyMg==","mode":288}}}}`

func requestFiles(t *testing.T, config client.Config, etag string) (client.FilesAnswer, error) {
	t.Helper()
	c, err := client.New(config)
	require.NoError(t, err)
	return c.Files(t.Context(), etag)
}

func TestFilesComeWithTheirETagAndTheTimeOfTheNextRequest(t *testing.T) {
	_, config := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, http.MethodGet, r.Method)
		assert.Equal(t, wire.FilesPath, r.URL.Path)
		assert.Equal(t, "Bearer a.b.c", r.Header.Get("Authorization"))
		assert.True(t, r.Close, "the connection is not kept")
		w.Header().Set(wire.HeaderRefreshAfter, "300")
		w.Header().Set("ETag", `"first"`)
		if r.Header.Get("If-None-Match") == `"first"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		assert.Empty(t, r.Header.Values("If-None-Match"))
		_, _ = io.WriteString(w, oneFile)
	})
	answer, err := requestFiles(t, config, "")
	require.NoError(t, err)
	assert.Equal(t, client.FilesAnswer{ETag: `"first"`, RefreshAfter: 5 * time.Minute,
		Directories: map[string]map[string]wire.FileContent{"app": {"tls.key": {Content: []byte("hunter2"), Mode: 0o440}}}}, answer)
	answer, err = requestFiles(t, config, answer.ETag)
	require.NoError(t, err)
	assert.Equal(t, client.FilesAnswer{IsUnchanged: true, ETag: `"first"`, RefreshAfter: 5 * time.Minute}, answer)
}

func TestTheTimeOfTheNextRequestIsBounded(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "1": time.Minute, "60": time.Minute, "61": 61 * time.Second, "86400": 24 * time.Hour, "86401": 24 * time.Hour,
		"9223372036854775807": 24 * time.Hour, "99999999999999999999": 24 * time.Hour,
		// Neither never nor at once.
		"": limits.FilesRefreshDefault, "-1": limits.FilesRefreshDefault, "-99999999999999999999": limits.FilesRefreshDefault, "5m": limits.FilesRefreshDefault, "1.5": limits.FilesRefreshDefault,
	} {
		_, config := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(wire.HeaderRefreshAfter, text)
			_, _ = io.WriteString(w, oneFile)
		})
		answer, err := requestFiles(t, config, "")
		require.NoError(t, err)
		assert.Equal(t, want, answer.RefreshAfter, "%q", text)
	}
}

func TestAnETagThatCannotBeSentBackIsIgnored(t *testing.T) {
	for etag, want := range map[string]string{
		`"a"`: `"a"`, `W/"a"`: `W/"a"`, "": "", "a b": "", "\"\x80\"": "",
		strings.Repeat("e", limits.FilesETagBytes): strings.Repeat("e", limits.FilesETagBytes), strings.Repeat("e", limits.FilesETagBytes+1): "",
	} {
		_, config := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", etag)
			_, _ = io.WriteString(w, oneFile)
		})
		answer, err := requestFiles(t, config, "")
		require.NoError(t, err)
		assert.Equal(t, want, answer.ETag)
	}
}

// TestOtherAnswersThanFilesAreErrors has answers of all kinds, none of which is quoted.
func TestOtherAnswersThanFilesAreErrors(t *testing.T) {
	manyFiles, manyDirectories := strings.Builder{}, strings.Builder{}
	for i := range limits.FilesInAnswer + 1 {
		fmt.Fprintf(&manyFiles, `"%d":{},`, i)
	}
	for i := range limits.PodFileDirectories + 1 {
		fmt.Fprintf(&manyDirectories, `"%d":{},`, i)
	}
	half := `{"content":"` + strings.Repeat("QUJD", limits.FilesBytes/6+1) + `"}` // base64 of half of the bytes and a little more
	for name, c := range map[string]struct {
		body string
		kind fault.Kind
	}{
		"nothing":                {"", fault.Unavailable},
		"no JSON":                {"hunter2", fault.Bug},
		"a list":                 {"[]", fault.Bug},
		"no directories":         {"{}", fault.Bug},
		"null":                   {"null", fault.Bug},
		"directories of null":    {`{"directories":null}`, fault.Bug},
		"a directory of null":    {`{"directories":{"app":null}}`, fault.Bug},
		"a text as file":         {`{"directories":{"app":{"a":"hunter2"}}}`, fault.Bug},
		"content that is text":   {`{"directories":{"app":{"a":{"content":"hunter2!"}}}}`, fault.Bug},
		"a mode below zero":      {`{"directories":{"app":{"a":{"mode":-1}}}}`, fault.Bug},
		"a directory twice":      {`{"directories":{"app":{},"app":{}}}`, fault.Bug},
		"a file twice":           {`{"directories":{"app":{"a":{},"a":{}}}}`, fault.Bug},
		"directories twice":      {`{"directories":{},"directories":{"app":{}}}`, fault.Bug},
		"something behind":       {oneFile + "hunter2", fault.Bug},
		"half of it":             {oneFile[:len(oneFile)-1], fault.Unavailable},
		"half of a file":         {oneFile[:50], fault.Unavailable},
		"too many files":         {`{"directories":{"app":{` + strings.TrimSuffix(manyFiles.String(), ",") + `}}}`, fault.Invalid},
		"too many directories":   {`{"directories":{` + strings.TrimSuffix(manyDirectories.String(), ",") + `}}`, fault.Invalid},
		"too much content":       {`{"directories":{"app":{"a":` + half + `,"b":` + half + `}}}`, fault.Invalid},
		"an answer of too many":  {`{"` + strings.Repeat("x", limits.FilesAnswerBytes) + `":1}`, fault.Unavailable},
		"objects in one another": {`{"x":` + strings.Repeat("[", 1<<20), fault.Bug},
	} {
		t.Run(name, func(t *testing.T) {
			_, config := startServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.body) })
			answer, err := requestFiles(t, config, "")
			assert.Equal(t, c.kind, fault.KindOf(err), "%v", err)
			assert.Zero(t, answer)
			assert.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestTheLargestFilesFit(t *testing.T) {
	files := map[string]wire.FileContent{}
	for i := range limits.FilesInAnswer {
		path := fmt.Sprintf("%s/%d", strings.Repeat("p", limits.FilePathBytes), i)
		files[path] = wire.FileContent{Content: make([]byte, limits.FilesBytes/limits.FilesInAnswer), Mode: 0o777}
	}
	_, config := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(wire.FilesResponse{Directories: map[string]map[string]wire.FileContent{"app": files}})
	})
	answer, err := requestFiles(t, config, "")
	require.NoError(t, err)
	assert.Equal(t, files, answer.Directories["app"])
}

func TestRefusalsOfFilesKeepTheirKind(t *testing.T) {
	_, config := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(wire.ErrorResponse{Kind: string(fault.NotFound), Message: "create it", CanAppearLater: true, RetryAfterSeconds: 7})
	})
	for _, etag := range []string{"", `"a"`} {
		_, err := requestFiles(t, config, etag)
		assert.Equal(t, fault.NotFound, fault.KindOf(err))
		assert.Equal(t, "create it", err.Error())
		assert.True(t, fault.CanAppearLater(err))
		assert.Equal(t, 7*time.Second, fault.RetryAfter(err))
	}
}

func TestStatusesThatNobodyAskedForAreErrors(t *testing.T) {
	for _, status := range []int{http.StatusNotModified, http.StatusNoContent, http.StatusNotFound, http.StatusFound} {
		_, config := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		})
		_, err := requestFiles(t, config, "")
		assert.Equal(t, fault.Unavailable, fault.KindOf(err), "%d: an env-injector without files has no such path", status)
	}
}
