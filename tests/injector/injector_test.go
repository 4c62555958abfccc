package injector

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// build compiles the program as it is shipped, and puts a copy called app beside it for scripts that look for a program by PATH.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "azure-keyvault-env")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "../../src/cmd/azure-keyvault-env")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

// TestScripts runs testdata/*.txtar. Besides testscript's own commands there is
//
//	inject CODE PROGRAM ARGS…
//
// which runs the program as the webhook makes a container run it, and wants that exit code.
func TestScripts(t *testing.T) {
	program := build(t)
	testscript.Run(t, testscript.Params{Dir: "testdata", RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("INJECTOR", program)
			env.Setenv("ROOT", wire.MountBinary)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"inject": func(ts *testscript.TestScript, _ bool, args []string) {
				if len(args) < 1 {
					ts.Fatalf("usage: inject CODE PROGRAM ARGS…")
				}
				cmd := &exec.Cmd{Path: program, Args: append([]string{wire.InjectorPath}, args[1:]...), Dir: ts.MkAbs(".")}
				for _, name := range []string{"PATH", "A", "PLAIN", wire.EnvAdded, wire.EnvCA, wire.EnvBroker, wire.EnvRetries, wire.EnvTimeout, wire.EnvLogFormat} {
					if value := ts.Getenv(name); value != "" {
						cmd.Env = append(cmd.Env, name+"="+value)
					}
				}
				var out, errs bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &errs
				err := cmd.Run()
				code := 0
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					code = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				ts.Check(os.WriteFile(ts.MkAbs("stdout"), out.Bytes(), 0o600))
				ts.Check(os.WriteFile(ts.MkAbs("stderr"), errs.Bytes(), 0o600))
				if want := args[0]; want != strconv.Itoa(code) {
					ts.Fatalf("exit code %d, wanted %s\n%s%s", code, want, out.String(), errs.String())
				}
			},
		}})
}
