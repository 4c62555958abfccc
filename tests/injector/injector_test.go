package injector

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// programs are the injector as it is shipped: the whole one, and the one that only asks the auth service.
type programs struct{ whole, thin string }

// build compiles them.
func build(t *testing.T) programs {
	t.Helper()
	folder := t.TempDir()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", folder+"/", "../../src/cmd/azure-keyvault-env", "../../src/cmd/azure-keyvault-env-thin")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return programs{filepath.Join(folder, "azure-keyvault-env"), filepath.Join(folder, "azure-keyvault-env-thin")}
}

// each runs a test with both.
func (p programs) each(t *testing.T, test func(t *testing.T, program string)) {
	t.Helper()
	for _, program := range []string{p.whole, p.thin} {
		t.Run(filepath.Base(program), func(t *testing.T) { test(t, program) })
	}
}

// TestScripts runs testdata/*.txtar. Besides testscript's own commands there is
//
//	inject CODE PROGRAM ARGS…
//
// which runs the program as the webhook makes a container run it, and wants that exit code, and the condition [thin].
func TestScripts(t *testing.T) { build(t).each(t, scripts) }

func scripts(t *testing.T, program string) {
	testscript.Run(t, testscript.Params{Dir: "testdata", RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("INJECTOR", program)
			env.Setenv("ROOT", wire.MountInjector)
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond != "thin" {
				return false, errors.New("unknown condition " + cond)
			}
			return strings.HasSuffix(program, "-thin"), nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"inject": func(ts *testscript.TestScript, _ bool, args []string) {
				if len(args) < 1 {
					ts.Fatalf("usage: inject CODE PROGRAM ARGS…")
				}
				cmd := &exec.Cmd{Path: program, Args: append([]string{wire.InjectorPath}, args[1:]...), Dir: ts.MkAbs(".")}
				for _, name := range []string{"PATH", "A", "PLAIN", wire.EnvAddedVariables, wire.EnvCA, wire.EnvBroker, wire.EnvRetries, wire.EnvTimeout, wire.EnvLogFormat, wire.EnvUseAuthService, wire.EnvDisableAuthService} {
					if value := ts.Getenv(name); value != "" {
						cmd.Env = append(cmd.Env, name+"="+value)
					}
				}
				cmd.Env = asWritten(cmd.Env)
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
