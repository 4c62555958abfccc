package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const usage = `usage: go run ./tests/run TIER

  check   no cluster: lint, generated files, the site, unit, contract, actor, script and architecture tests
  e2e     one local cluster with the product installed
  long    one suite, chosen by the number of commits; SUITE=NAME or SUITE=all chooses otherwise
  test    check, e2e, an installation by terratest and chart-testing, and long

and the parts of check that are programs of their own:

  packages  install the Debian packages that check needs and that are missing
  lint      the linters, on the code and on the chart
  generate  write what is generated: deepcopy functions, the CRD, schemas and pages of the chart's values, renders of examples
  verify    generate in a copy, and compare
  site      the documentation's site, into dist/site, and its links

a part of the suite headlamp:

  headlamp  the plugin of Headlamp: linter, types, tests and build, into plugins/headlamp/dist

and what is run by hand:

  fuzz      each fuzz target for 30 seconds (FUZZTIME), with its executions
  vulnerabilities  known vulnerabilities in what the programs call, by Go's database (VULNDB: a copy of it)
  package   the images, the chart, the command line, SPDX documents and licences, into dist
  release-dry-run  everything that a release does but pushing and signing, into dist
  manifests the chart as static manifests, into dist/manifests
`

// suite is a long one.
type suite struct {
	name, folder string
	// run chooses tests of the folder; empty means all.
	run    string
	budget time.Duration
	// env are variables of the environment, as NAME=VALUE. HELM=3 installs by Helm 3; Helm 4 is the default.
	env []string
	// named says that only its name, or SUITE=all, chooses it, and the number of commits does not.
	named bool
}

// suites are the long ones: those that commits choose, in their order, and those that are named.
func suites() []suite {
	return []suite{
		{name: "faults", folder: "./tests/long/faults", budget: 10 * time.Minute, env: []string{"HELM=3"}},
		{name: "auth-matrix", folder: "./tests/long/auth-matrix", budget: 15 * time.Minute, env: []string{"HELM=3"}},
		{name: "auth-processes", folder: "./tests/long/auth-processes", budget: 8 * time.Minute},
		{name: "pod-identity", folder: "./tests/long/pod-identity", budget: 8 * time.Minute},
		// Installation after installation.
		{name: "upgrade", folder: "./tests/long/upgrade", budget: 16 * time.Minute},
		{name: "examples", folder: "./tests/long/examples", budget: 28 * time.Minute},
		{name: "flood", folder: "./tests/long/flood", run: "^TestFlood$", budget: 12 * time.Minute},
		{name: "bench", folder: "./tests/bench", run: "^(TestFigures|TestInjection)$", budget: 22 * time.Minute},
		{name: "scale", folder: "./tests/bench", run: "^TestScale$", budget: 30 * time.Minute},
		{name: "release", folder: "./tests/long/release", budget: 15 * time.Minute},
		{name: "site", folder: "./tests/long/site", budget: 10 * time.Minute},
		// Minutes of it are for compiling the older kubelet, the first time on a machine.
		{name: "mixed-nodes", folder: "./tests/long/mixed-nodes", budget: 10 * time.Minute},
		// The product's own suite again, with images that use the FIPS 140-3 module.
		{name: "fips", folder: "./tests/e2e", budget: 24 * time.Minute, env: []string{"FIPS=1"}, named: true},
		// And on the oldest version of Kubernetes that the chart accepts.
		{name: "kubernetes-1.30", folder: "./tests/e2e", budget: 40 * time.Minute,
			env: []string{"KUBERNETES=1.30", "HELM=3"}, named: true},
		// More than two hundred faults.
		{name: "quiz", folder: "./tests/long/quiz", budget: 12 * time.Minute, named: true},
		// Minutes of it are for compiling External Secrets Operator, the first time on a machine.
		{name: "eso", folder: "./tests/long/eso", budget: 25 * time.Minute, named: true},
		// Minutes of it are for npm packages and Chromium, the first time on a machine.
		{name: "headlamp", folder: "./tests/long/headlamp", budget: 15 * time.Minute, named: true},
		// And of this for compiling terratest.
		{name: "packaging", folder: "./tests/long/packaging", run: "^TestPackagingAtLength$", budget: 24 * time.Minute,
			named: true},
	}
}

// suiteNames are for messages.
func suiteNames() string {
	var names []string
	for _, s := range suites() {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

// step is one part of a run.
type step struct {
	name   string
	budget time.Duration
	// tests says that the command is go test -json, whose results are counted.
	tests   bool
	command []string
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) int {
	if len(args) != 1 {
		fmt.Fprint(stdout, usage)
		return 2
	}
	if chore, ok := chores()[args[0]]; ok {
		return code(chore(ctx, getenv, stdout), stdout)
	}
	return tiers(ctx, args[0], getenv, stdout)
}

func tiers(ctx context.Context, tier string, getenv func(string) string, stdout io.Writer) int {
	steps, notes, err := plan(ctx, tier, getenv("SUITE"))
	if err != nil {
		fmt.Fprintln(stdout, "error:", err)
		return 2
	}
	folder, err := os.MkdirTemp("", "akv2k8s-run-")
	if err != nil {
		fmt.Fprintln(stdout, "error:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	r := runner{out: stdout, log: filepath.Join(folder, "tests.json"), notes: notes}
	for _, s := range steps {
		r.step(ctx, s)
	}
	ledger := []string{"go", "run", "./tests/ledger", r.log}
	if tier != "test" {
		ledger = []string{"go", "run", "./tests/ledger", "skips", r.log}
	}
	r.step(ctx, step{name: "ledger", budget: time.Minute, command: ledger})
	return r.finish()
}

// plan is the list of steps of a tier, and what it leaves out and why.
func plan(ctx context.Context, tier, suite string) (steps []step, notes []string, err error) {
	check := []step{
		{name: "packages", budget: 2 * time.Minute, command: []string{"go", "run", "./tests/run", "packages"}},
		{name: "lint", budget: 6 * time.Minute, command: []string{"go", "run", "./tests/run", "lint"}},
		{name: "verify", budget: 2 * time.Minute, command: []string{"go", "run", "./tests/run", "verify"}},
		// Minutes of it are for packages, the first time on a machine.
		{name: "site", budget: 2 * time.Minute, command: []string{"go", "run", "./tests/run", "site"}},
		{name: "unit, contract, actor", budget: 8 * time.Minute, tests: true, command: goTest("-race", "./src/...")},
		// Never from the cache: what these tests look at, other programs read for them.
		{name: "script, architecture, test bed", budget: 4 * time.Minute, tests: true,
			command: goTest("-count=1", "./tests/...")},
	}
	e2e := []step{{name: "e2e", budget: 24 * time.Minute, tests: true,
		command: goTest("-tags=cluster", "-count=1", "-timeout=30m", "./tests/e2e")}}
	// Of the reader; e2e has that of the product.
	soak := step{name: "soak of two minutes", budget: 4 * time.Minute, tests: true,
		command: append([]string{"env", "SOAK=2m"},
			goTest("-count=1", "-run=^TestSoak$", "./src/keyvault/vaultclient")...)}
	packaging := step{name: "terratest and chart-testing", budget: 6 * time.Minute, tests: true,
		command: goTest("-tags=cluster", "-count=1", "-timeout=20m", "-run=^TestPackaging$", "./tests/long/packaging")}
	long, notes, err := longSteps(ctx, suite)
	if err != nil {
		return nil, nil, err
	}
	switch tier {
	case "check":
		return check, nil, nil
	case "e2e":
		return e2e, nil, nil
	case "long":
		return long, notes, nil
	case "test":
		return slices.Concat(check, []step{soak}, e2e, []step{packaging}, long), notes, nil
	}
	return nil, nil, fmt.Errorf("there is no tier %q\n%s", tier, usage)
}

func goTest(args ...string) []string { return append([]string{"go", "test", "-json"}, args...) }

// chosenBy is the suite that a number of commits chooses.
func chosenBy(commits int) suite {
	choice := slices.DeleteFunc(suites(), func(s suite) bool { return s.named })
	return choice[commits%len(choice)]
}

func longSteps(ctx context.Context, wanted string) (steps []step, notes []string, err error) {
	all := suites()
	is := func(s suite) bool { return wanted == "all" || s.name == wanted }
	switch {
	case wanted == "":
		out, err := exec.CommandContext(ctx, "git", "rev-list", "--count", "HEAD").Output()
		if err != nil {
			return nil, nil, fmt.Errorf("counting commits to choose a suite: %w; choose one of %s by SUITE=NAME", err,
				suiteNames())
		}
		count, err := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil {
			return nil, nil, err
		}
		wanted = chosenBy(count).name
		notes = append(notes, fmt.Sprintf("suite %s was chosen by the number of commits, %d; SUITE=all runs every one",
			wanted, count))
	case wanted != "all" && !slices.ContainsFunc(all, is):
		return nil, nil, fmt.Errorf("there is no suite %q; use one of %s, or all", wanted, suiteNames())
	}
	for _, s := range all {
		if !is(s) {
			notes = append(notes, "not run: suite "+s.name)
			continue
		}
		args := []string{"-tags=cluster", "-count=1", "-timeout=" + (2 * s.budget).String(), s.folder}
		if s.run != "" {
			args = append([]string{"-run=" + s.run}, args...)
		}
		command := goTest(args...)
		if len(s.env) > 0 {
			command = slices.Concat([]string{"env"}, s.env, command)
		}
		steps = append(steps, step{name: s.name, budget: s.budget, tests: true, command: command})
	}
	return steps, notes, nil
}
