package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// runner runs steps and remembers what came of them.
type runner struct {
	out   io.Writer
	log   string
	notes []string

	counts  counts
	results []result
	broken  bool
}

type result struct {
	step
	took time.Duration
	err  error
}

// step runs one step. Later steps run even if one failed: a run should tell all that is wrong.
func (r *runner) step(ctx context.Context, s step) {
	fmt.Fprintf(r.out, "=== %s\n", s.name)
	started := time.Now()
	cmd := exec.CommandContext(ctx, s.command[0], s.command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute // for clusters to be taken down
	cmd.Stderr = r.out
	var err error
	if s.tests {
		err = r.tests(cmd)
	} else {
		cmd.Stdout = r.out
		if err = cmd.Run(); err != nil {
			r.counts.failed++
		} else {
			r.counts.passed++
		}
	}
	r.results = append(r.results, result{s, time.Since(started), err})
	r.broken = r.broken || err != nil
}

// tests runs go test -json, prints what a reader wants and keeps all of it in the log.
func (r *runner) tests(cmd *exec.Cmd) error {
	log, err := os.OpenFile(r.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	before := r.counts
	err = r.counts.read(io.TeeReader(pipe, log), r.out)
	if waited := cmd.Wait(); err == nil {
		err = waited
	}
	if err != nil && r.counts.failed == before.failed {
		r.counts.failed++ // it did not come as far as a test
	}
	if err == nil && r.counts.passed == before.passed {
		r.counts.failed++
		err = fmt.Errorf("no test ran")
	}
	return err
}

// finish prints what ran, what did not and why, and the counts as the last line.
func (r *runner) finish() int {
	fmt.Fprintln(r.out, "\nwhat ran                          time    budget")
	for _, res := range r.results {
		verdict := "ok"
		if res.err != nil {
			verdict = "FAILED: " + res.err.Error()
		} else if res.took > res.budget {
			verdict = "ok, but over its budget"
		}
		fmt.Fprintf(r.out, "%-30s %7s   %7s  %s\n", res.name, res.took.Round(time.Second), res.budget, verdict)
	}
	for _, note := range r.notes {
		fmt.Fprintln(r.out, note)
	}
	for _, skipped := range r.counts.reasons {
		fmt.Fprintln(r.out, "skipped:", skipped)
	}
	// What failed comes last: who sees only the end of a long log needs it most.
	for _, res := range r.results {
		if res.err != nil {
			fmt.Fprintf(r.out, "failed step: %s: %v\n", res.name, res.err)
		}
	}
	for _, failed := range r.counts.failures {
		fmt.Fprintln(r.out, "failed:", failed)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.counts.passed, r.counts.failed, r.counts.skipped)
	if r.broken || r.counts.failed > 0 {
		return 1
	}
	return 0
}
