package findinglog

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// The prefixes of lines: of a finding, and of the last line with the number of the findings.
const (
	findingPrefix = "akv2k8s-finding: "
	endPrefix     = "akv2k8s-findings: "
)

// Write writes the findings.
func Write(out io.Writer, findings []doctor.Finding) error {
	for _, finding := range findings {
		line, err := json.Marshal(finding)
		if err != nil {
			return fmt.Errorf("encoding a finding: %w", err)
		}
		if _, err := fmt.Fprintf(out, "%s%s\n", findingPrefix, line); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%s%d\n", endPrefix, len(findings))
	return err
}

// Read reads the findings of a log. It is an error if the log ends before the last finding.
func Read(log io.Reader) ([]doctor.Finding, error) {
	lines := bufio.NewScanner(io.LimitReader(log, limits.DoctorAzureAnswerBytes))
	lines.Buffer(nil, limits.DoctorAzureAnswerBytes)
	found := []doctor.Finding{}
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), findingPrefix); ok {
			var finding doctor.Finding
			if err := json.Unmarshal([]byte(text), &finding); err != nil {
				return nil, fault.New(fault.Malformed, "a line of the Job's log is not a finding")
			}
			found = append(found, finding)
		}
		if text, ok := strings.CutPrefix(lines.Text(), endPrefix); ok && text == strconv.Itoa(len(found)) {
			return found, nil
		}
	}
	return nil, fault.New(fault.Malformed, "the Job's log ends before the last finding")
}
