package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// event is a line of go test -json.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

// counts are of tests, subtests included.
type counts struct {
	passed, failed, skipped int
	reasons                 []string // why tests were skipped
	failures                []string // the tests that failed, each with the start of what it said
}

// read counts the events and prints what a reader wants: lines of progress, the output of what failed or was skipped, a
// line for each package.
func (c *counts) read(in io.Reader, out io.Writer) error {
	outputs := map[string]*strings.Builder{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(out, lines.Text())
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			if outputs[key] == nil {
				outputs[key] = &strings.Builder{}
			}
			outputs[key].WriteString(e.Output)
			if e.Action == "build-output" || strings.HasPrefix(e.Output, "progress: ") {
				fmt.Fprint(out, e.Output)
			}
		case "pass", "fail", "skip":
			c.ended(e, outputs[key], out)
			delete(outputs, key)
		}
	}
	return lines.Err()
}

// ended takes in the end of a test or of a package.
func (c *counts) ended(e event, output *strings.Builder, out io.Writer) {
	text := ""
	if output != nil {
		text = output.String()
	}
	if e.Test == "" {
		if e.Action == "fail" {
			fmt.Fprint(out, text)
			c.failures = append(c.failures, "package "+e.Package+": "+lastLines(text, 3))
		}
		if e.Action != "skip" {
			fmt.Fprintf(out, "%s %s %.1fs\n", e.Action, strings.TrimPrefix(e.Package, "github.com/akv2k8s/akv2k8s/"),
				e.Elapsed)
		}
		return
	}
	switch e.Action {
	case "pass":
		c.passed++
	case "fail":
		c.failed++
		fmt.Fprint(out, text)
		c.failures = append(c.failures, e.Test+": "+failure(text))
	case "skip":
		c.skipped++
		c.reasons = append(c.reasons, e.Test+": "+reason(text))
	}
}

// reason finds what a test said when it skipped itself.
func reason(output string) string {
	for _, line := range strings.Split(output, "\n") {
		if _, said, ok := strings.Cut(line, ".go:"); ok {
			return said
		}
	}
	return "no reason was given"
}

// lastLines returns the last lines of an output that say something, as one line.
func lastLines(output string, count int) string {
	var lines []string
	for _, line := range strings.Split(output, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-count):], "; ")
}

// failure finds what a failed test said: the first error of an assertion, or its last line.
func failure(output string) string {
	if _, after, ok := strings.Cut(output, "Error:"); ok {
		said, _, _ := strings.Cut(after, "Test:")
		return strings.Join(strings.Fields(said), " ")
	}
	return lastLines(output, 1)
}
