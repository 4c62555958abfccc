package findinglog_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/findinglog"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

func TestFindingsPassThroughALogWithOtherLines(t *testing.T) {
	want := []doctor.Finding{{Category: "c", Check: "d", Object: "o", Severity: doctor.Error, What: "line\nbreak", Why: "y", Try: "t", Command: "az"},
		{Check: "e", Severity: doctor.OK, What: "fine"}}
	var log bytes.Buffer
	log.WriteString("info starting\n")
	require.NoError(t, findinglog.Write(&log, want))
	log.WriteString("info ending\n")
	got, err := findinglog.Read(&log)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	log.Reset()
	require.NoError(t, findinglog.Write(&log, nil))
	got, err = findinglog.Read(&log)
	require.NoError(t, err)
	assert.Empty(t, got)
}

// brokenWriter fails after some writes.
type brokenWriter struct{ left int }

func (b *brokenWriter) Write(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		return 0, errors.New("broken")
	}
	return len(p), nil
}

func TestALogThatIsIncompleteIsAnError(t *testing.T) {
	for text, says := range map[string]string{
		"":                      "ends before",
		"akv2k8s-finding: {}\n": "ends before",
		"akv2k8s-findings: 1\n": "ends before",
		"akv2k8s-finding: {\n":  "not a finding",
		"akv2k8s-finding: {}\nakv2k8s-findings: 2\n":                                   "ends before",
		strings.Repeat("x", limits.DoctorAzureAnswerBytes) + "\nakv2k8s-findings: 0\n": "ends before",
	} {
		_, err := findinglog.Read(strings.NewReader(text))
		assert.ErrorContains(t, err, says, "%.60q", text)
	}
	for left := range 2 {
		assert.Error(t, findinglog.Write(&brokenWriter{left}, []doctor.Finding{{}}))
	}
}
