package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// module is the module's path, which the names of packages in the tables leave out.
const module = "github.com/akv2k8s/akv2k8s/"

// allowedSkips are the reasons for which a test may be skipped.
func allowedSkips() []string {
	return []string{"use CLUSTER=local", "needs runc 1.2 or newer", "needs Kubernetes 1.33 or newer",
		"the suite pod-identity runs it"}
}

// outcomes are what became of the tests of a run, by "package:Test/subtest"; packages are those of which a test ran.
type outcomes struct {
	tests    map[string]string
	packages map[string]bool
	// unexplained are skipped tests whose output names no allowed reason.
	unexplained []string
}

func run(args []string, out io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintln(out, "usage: go run ./tests/ledger FILE, where FILE is the output of go test -json")
		return 2
	}
	file, err := os.Open(args[0])
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
	pages, err := filepath.Glob("docs/reference/*.md")
	security, _ := filepath.Glob("docs/security/*.md")
	if pages = append(pages, security...); err != nil || len(pages) == 0 {
		fmt.Fprintln(out,
			"error: there are no pages under docs/reference and docs/security; run this from the repository's root")
		return 1
	}
	return judge(pages, results, out)
}

// judge checks every page and says what is missing.
func judge(pages []string, results outcomes, out io.Writer) int {
	rows, proven, elsewhere := 0, 0, 0
	var wrong []string
	for _, page := range pages {
		content, err := os.ReadFile(page)
		if err != nil {
			wrong = append(wrong, err.Error())
			continue
		}
		for _, row := range tables(string(content)) {
			rows++
			missing, notRun := results.missing(row.tests)
			switch {
			case len(row.tests) == 0:
				wrong = append(wrong, fmt.Sprintf("%s: the row %q names no test", page, row.name))
			case len(missing) > 0:
				wrong = append(wrong, fmt.Sprintf("%s: the row %q: not passed: %s", page, row.name,
					strings.Join(missing, ", ")))
			case notRun:
				elsewhere++
			default:
				proven++
			}
		}
	}
	for _, test := range results.unexplained {
		wrong = append(wrong, test+" was skipped without a reason that is allowed")
	}
	fmt.Fprintf(out, "ledger: %d rows, %d proven by this run, %d by suites that did not run\n", rows, proven, elsewhere)
	for _, text := range wrong {
		fmt.Fprintln(out, "ledger:", text)
	}
	if len(wrong) > 0 || rows == 0 {
		return 1
	}
	return 0
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

// row is one line of a table whose last column is Tests.
type row struct {
	name  string
	tests []string
}

var quoted = regexp.MustCompile("`([^`]+)`")

// tables finds the rows of all tables that have a column Tests.
func tables(page string) []row {
	var rows []row
	inside := false
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") {
			inside = false
			continue
		}
		last := strings.TrimSpace(cells[len(cells)-1])
		if last == "Tests" {
			inside = true
			continue
		}
		if !inside || strings.Trim(last, "-: ") == "" && strings.Contains(last, "-") {
			continue
		}
		r := row{name: strings.TrimSpace(cells[0])}
		for _, m := range quoted.FindAllStringSubmatch(last, -1) {
			r.tests = append(r.tests, m[1])
		}
		rows = append(rows, r)
	}
	return rows
}
