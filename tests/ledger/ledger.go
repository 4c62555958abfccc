package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// module is the module's path, which the names of packages in the proofs leave out.
const module = "github.com/akv2k8s/akv2k8s/"

// allowedSkips are the reasons for which a test may be skipped.
func allowedSkips() []string {
	return []string{"use CLUSTER=local", "needs runc 1.2 or newer", "needs Kubernetes 1.33 or newer",
		"the suite pod-identity runs it",
		// Other readers of our formats, such as Java. The formats have tests that need none of them.
		"this machine has no ", "this Node.js has no ", "this Java can't ",
		// An ordinary user can't mount a small volume, and not every file system has what volumes have.
		"needs root", "can't be mounted here", "this file system has no ",
		// Input of a fuzzer.
		"the library can't write what it has read"}
}

// outcomes are what became of the tests of a run, by "package:Test/subtest"; packages are those of which a test ran.
type outcomes struct {
	tests    map[string]string
	packages map[string]bool
	// unexplained are skipped tests whose output names no allowed reason.
	unexplained []string
}

func run(args []string, out io.Writer) int {
	if len(args) == 2 && args[0] == "index" {
		return writeIndex(args[1], out)
	}
	skipsOnly := len(args) == 2 && args[0] == "skips"
	if len(args) != 1 && !skipsOnly {
		fmt.Fprintln(out, "usage: go run ./tests/ledger [skips] FILE, where FILE is the output of go test -json; or "+
			"go run ./tests/ledger index ROOT, which writes "+indexPage+" of a repository")
		return 2
	}
	file, err := os.Open(args[len(args)-1])
	if err != nil {
		fmt.Fprintln(out, "error:", err)
		return 1
	}
	defer func() { _ = file.Close() }()
	results, err := read(file)
	if err != nil {
		fmt.Fprintln(out, "error: reading the run:", err)
		return 1
	}
	if skipsOnly {
		return judgeSkips(results, out)
	}
	pages, err := readPages(".")
	if err != nil {
		fmt.Fprintln(out, "error:", err)
		return 1
	}
	return judge(pages, results, out)
}

// judge compares the proofs of every page with the results, and prints what is missing. It returns the exit code.
func judge(pages []page, results outcomes, out io.Writer) int {
	promises, proven, elsewhere := 0, 0, 0
	var wrong []string
	for _, p := range pages {
		wrong = append(wrong, p.problems()...)
		for _, promise := range p.promises {
			promises++
			missing, notRun := results.missing(p.proofs[promise.id])
			switch {
			case len(missing) > 0:
				wrong = append(wrong, fmt.Sprintf("%s: the promise %s: not passed: %s", p.path, promise.id,
					strings.Join(missing, ", ")))
			case notRun:
				elsewhere++
			default:
				proven++
			}
		}
	}
	wrong = append(wrong, results.skipProblems()...)
	fmt.Fprintf(out, "ledger: %d promises, %d proven by this run, %d by suites that did not run\n", promises, proven,
		elsewhere)
	for _, text := range wrong {
		fmt.Fprintln(out, "ledger:", text)
	}
	if len(wrong) > 0 || promises == 0 {
		return 1
	}
	return 0
}

// skipProblems are the skipped tests whose reason is not allowed.
func (o outcomes) skipProblems() (problems []string) {
	for _, test := range o.unexplained {
		problems = append(problems, test+" was skipped without a reason that is allowed")
	}
	return problems
}

// judgeSkips prints the skipped tests whose reason is not allowed, and returns the exit code. It is for a run of some
// of the tests, which proves no promise.
func judgeSkips(results outcomes, out io.Writer) int {
	problems := results.skipProblems()
	for _, text := range problems {
		fmt.Fprintln(out, "ledger:", text)
	}
	return min(len(problems), 1)
}

// read takes in the output of go test -json.
func read(in io.Reader) (outcomes, error) {
	o := outcomes{tests: map[string]string{}, packages: map[string]bool{}}
	texts := map[string]string{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e struct{ Action, Package, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		name := strings.TrimPrefix(e.Package, module) + ":" + e.Test
		switch e.Action {
		case "output":
			if e.Test != "" {
				texts[name] += e.Output
			}
		case "pass", "fail", "skip":
			if e.Test == "" { // a package without test files ends too, as one that was skipped
				continue
			}
			o.packages[strings.TrimPrefix(e.Package, module)] = true
			o.tests[name] = e.Action
			allowed := slices.ContainsFunc(allowedSkips(),
				func(reason string) bool { return strings.Contains(texts[name], reason) })
			if e.Action == "skip" && !allowed {
				o.unexplained = append(o.unexplained, name)
			}
		}
	}
	return o, lines.Err()
}

// missing are the tests that should have passed and did not; notRun says that some belong to suites that did not run.
func (o outcomes) missing(tests []string) (missing []string, notRun bool) {
	for _, test := range tests {
		pkg, name, _ := strings.Cut(test, ":")
		optional := strings.HasPrefix(pkg, "tests/long/") || pkg == "tests/bench"
		result := o.tests[pkg+":"+strings.ReplaceAll(name, " ", "_")]
		switch {
		case result == "pass" || result == "skip":
		case optional && !o.packages[pkg]:
			notRun = true
		default:
			missing = append(missing, test)
		}
	}
	return missing, notRun
}
