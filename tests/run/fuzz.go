package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
)

const (
	// fuzzTime is how long each target is fuzzed unless FUZZTIME says otherwise.
	fuzzTime = "30s"
	// fuzzMinimize bounds the minimisation of an interesting input by runs of the target. Go's own bound is a minute
	// for each, in which a target that finds much executes next to nothing.
	fuzzMinimize = "10x"
	// fewestExecutions is what a target must reach in a second on average; below that it does not fuzz.
	fewestExecutions = 20
)

// target is one fuzz target.
type target struct{ pkg, name string }

// fuzz runs each fuzz target, prints how many inputs it executed, and fails if one found something or executed too
// little.
func fuzz(ctx context.Context, getenv func(string) string, out io.Writer) error {
	shop, err := workshop(getenv, out)
	if err != nil {
		return err
	}
	length := getenv("FUZZTIME")
	if length == "" {
		length = fuzzTime
	}
	lasting, err := time.ParseDuration(length)
	if err != nil {
		return fmt.Errorf("FUZZTIME=%s is not a duration; write for example 30s", length)
	}
	targets, err := fuzzTargets(ctx, shop)
	if err != nil {
		return err
	}
	var failed []error
	for _, t := range targets {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = append(failed, t.run(ctx, shop, lasting, out))
	}
	return errors.Join(failed...)
}

// fuzzTargets lists the targets of all packages.
func fuzzTargets(ctx context.Context, shop build.Builder) ([]target, error) {
	var list bytes.Buffer
	if err := command(ctx, shop.Root, &list, "go", "test", "-json", "-list", "^Fuzz", "./src/..."); err != nil {
		return nil, err
	}
	var targets []target
	for line := range strings.Lines(list.String()) {
		var e event
		if json.Unmarshal([]byte(line), &e) == nil && e.Action == "output" && strings.HasPrefix(e.Output, "Fuzz") {
			targets = append(targets, target{e.Package, strings.TrimSpace(e.Output)})
		}
	}
	if len(targets) == 0 {
		return nil, errors.New("no fuzz target was found")
	}
	return targets, nil
}

// run fuzzes one target and prints one line about it.
func (t target) run(ctx context.Context, shop build.Builder, lasting time.Duration, out io.Writer) error {
	var output bytes.Buffer
	err := command(ctx, shop.Root, &output, "go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime",
		lasting.String(),
		"-fuzzminimizetime", fuzzMinimize, t.pkg)
	executions := executions(output.String())
	fmt.Fprintf(out, "%-70s %10d executions\n", strings.TrimPrefix(t.pkg, "github.com/akv2k8s/akv2k8s/")+":"+t.name,
		executions)
	switch {
	case err != nil:
		return fmt.Errorf("%w\n%s", err, output.String())
	case executions < int(lasting.Seconds()*fewestExecutions):
		return fmt.Errorf("%s of %s executed %d inputs in %s, fewer than %d per second", t.name, t.pkg, executions,
			lasting, fewestExecutions)
	}
	return nil
}

var executed = regexp.MustCompile(`execs: (\d+)`)

// executions is the last count that go test printed.
func executions(output string) int {
	counts := executed.FindAllStringSubmatch(output, -1)
	if len(counts) == 0 {
		return 0
	}
	count, _ := strconv.Atoi(counts[len(counts)-1][1])
	return count
}
