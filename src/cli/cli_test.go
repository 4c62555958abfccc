package cli_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/cli"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"kubectl-akv2k8s": func() {
			streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
			os.Exit(cli.Run(context.Background(), os.Args[1:], streams))
		},
	})
}

// TestScripts runs testdata/*.txtar, which are transcripts of use. Besides testscript's own commands there is
//
//	code N COMMAND…    runs a command, which must end with exit code N
//	validates FILE     every document of the file has a kind, or only comments: kubectl apply accepts it
//
// A script with a file cluster.yaml has KUBECONFIG of a cluster with these objects. The controller in it reads version 2
// of every vault object when a refresh is requested, and commands in containers print their standard input.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", RequireExplicitExec: true, UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			content, err := os.ReadFile(filepath.Join(env.WorkDir, "cluster.yaml"))
			if err != nil {
				return nil //nolint:nilerr // a script without a cluster
			}
			s := newAPIServer(t, objectsOf(t, strings.TrimSpace(string(content)))...)
			s.answers(t, func(r *v2beta1.AzureKeyVaultSecret) { r.Status.VaultVersion = "2" })
			s.runs(t, 3, false)
			env.Setenv("KUBECONFIG", s.kubeconfig)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				var exit interface{ ExitCode() int }
				code := 0
				if errors.As(err, &exit) {
					code = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if got := strings.TrimSpace(args[0]); got != string(rune('0'+code)) {
					ts.Fatalf("the exit code is %d, not %s", code, got)
				}
			},
			"validates": func(ts *testscript.TestScript, _ bool, args []string) {
				for i, document := range strings.Split("\n"+ts.ReadFile(args[0]), "\n---\n") {
					lines := strings.FieldsFunc(document, func(r rune) bool { return r == '\n' })
					text := false
					for _, line := range lines {
						text = text || !strings.HasPrefix(line, "#")
					}
					if text && !strings.Contains(document, "\nkind: ") {
						ts.Fatalf("document %d has no kind:\n%s", i+1, document)
					}
				}
			},
		}})
}

// run runs the command and returns its exit code, standard output and standard error.
func run(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Run(t.Context(), args, genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &out, ErrOut: &errs})
	return code, out.String(), errs.String()
}

func TestWrongUseIsExplained(t *testing.T) {
	for want, args := range map[string][]string{
		`unknown command "x"; run 'kubectl akv2k8s --help'`:           {"x"},
		"--filename is required":                                      {"convert"},
		`takes no arguments, but has "file.yaml"`:                     {"convert", "file.yaml"},
		"unknown flag: --files; run 'kubectl akv2k8s convert --help'": {"convert", "--files", "x"},
		"is a URL, and only files are read":                           {"convert", "-f", "https://example.org/x.yaml"},
		"can't both be the output":                                    {"convert", "-f", "-", "--values", "-", "--report", "-"},
		`--vault "store=" has no vault`:                               {"convert", "-f", "-", "--vault", "store="},
	} {
		code, stdout, stderr := run(t, "", args...)
		assert.Equal(t, cli.ExitUsage, code, args)
		assert.Contains(t, stderr, want)
		assert.Empty(t, stdout)
	}
}

func TestFilesThatCannotBeReadAreFailures(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "bad.yaml"), []byte("a: [canary\n"), 0o600))
	for want, args := range map[string][]string{
		"no such file":                        {"-f", filepath.Join(folder, "missing.yaml")},
		"has no file that ends in .yaml":      {"-f", t.TempDir()},
		"bad.yaml: document 1":                {"-f", folder},
		"no such file or directory":           {"-f", "-", "--report", filepath.Join(folder, "missing", "report")},
		"open " + filepath.Join(folder, "no"): {"-f", "-", "--values", filepath.Join(folder, "no", "values")},
	} {
		code, _, stderr := run(t, "", append([]string{"convert"}, args...)...)
		assert.Equal(t, cli.ExitFailure, code, args)
		assert.Contains(t, stderr, want)
		assert.NotContains(t, stderr, "canary")
	}
	code, _, stderr := run(t, strings.Repeat("#", limits.ConvertBytes+1), "convert", "-f", "-")
	assert.Equal(t, cli.ExitFailure, code)
	assert.Contains(t, stderr, "standard input: the input is larger than 16 MiB")
}

func TestEverySubcommandHasHelpAndAnExample(t *testing.T) {
	root := cli.NewCommand(genericiooptions.IOStreams{})
	own := 0
	for _, command := range root.Commands() {
		if command.Name() == "help" || command.Name() == "completion" {
			continue
		}
		own++
		assert.NotEmpty(t, command.Short, command.Name())
		assert.NotEmpty(t, command.Long, command.Name())
		assert.Contains(t, command.Example, "kubectl akv2k8s "+command.Name())
		for line := range strings.Lines(command.Long + "\n" + command.Example) {
			assert.LessOrEqual(t, len(line), 122, line)
		}
	}
	assert.Positive(t, own)
}
