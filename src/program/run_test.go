package program

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/akv2k8s/akv2k8s/src/version"
)

// newTestProgram returns a program whose settings are those that all programs have. Its Serve returns serveError.
func newTestProgram(lookup func(string) (string, bool), serveError error) (*cobra.Command, *Settings) {
	s := NewSettings(lookup)
	sub := &cobra.Command{Use: "act", Short: "do something"}
	sub.AddCommand(&cobra.Command{Use: "twice", Short: "do it twice", RunE: func(cmd *cobra.Command, _ []string) error {
		_, err := io.WriteString(cmd.OutOrStdout(), "done\n")
		return err
	}})
	return NewCommand(Config{Name: "example", Summary: "Show what programs do.", Details: "It is for tests.", Environment: &s.Environment,
		AddFlags:    func(flags *pflag.FlagSet) { s.AddClusterFlags(flags); s.AddFlags(flags) },
		Serve:       func(*cobra.Command, []string) error { return serveError },
		Subcommands: []*cobra.Command{sub}}), &s
}

func noVariables(string) (string, bool) { return "", false }

// runProgram runs the program that newTestProgram returns.
func runProgram(t *testing.T, serveError error, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	root, _ := newTestProgram(noVariables, serveError)
	root.SetOut(&out)
	root.SetErr(&errs)
	code = Run(t.Context(), root, args)
	return code, out.String(), errs.String()
}

func TestExitCodesTellFailuresFromWrongUsage(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		serves error
		code   int
		stderr string
	}{
		"success":                       {nil, nil, 0, ""},
		"failure":                       {nil, errors.New("the disk is full; delete files"), 1, "example: the disk is full; delete files\n"},
		"a value that can't work":       {nil, UsageError{errors.New("--a must be b")}, 2, "example: --a must be b\n"},
		"an unknown flag":               {[]string{"--nonsense"}, nil, 2, "example: unknown flag: --nonsense; run 'example --help' for its flags\n"},
		"an unknown flag with one dash": {[]string{"-nonsense=x"}, nil, 2, "example: unknown flag: --nonsense; run 'example --help' for its flags\n"},
		"a flag without its value":      {[]string{"--kubeconfig"}, nil, 2, "example: flag needs an argument: --kubeconfig; run 'example --help' for its flags\n"},
		"a value of another type":       {[]string{"--readers=x"}, nil, 2, "--readers"},
		"an unknown subcommand":         {[]string{"burn"}, nil, 2, "example: example has no subcommand \"burn\"; use one of: example act, example check-ready, "},
		"no subcommand where one must":  {[]string{"act"}, nil, 2, "example: example act needs a subcommand; use one of: example act twice\n"},
		"an unknown one of a subcommand": {[]string{"act", "never"}, nil, 2,
			"example: example act has no subcommand \"never\"; use one of: example act twice\n"},
		"an argument too many": {[]string{"act", "twice", "more"}, nil, 2, "example: example act twice takes no arguments, but has \"more\"; run 'example act twice --help'"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := runProgram(t, c.serves, c.args...)
			assert.Equal(t, c.code, code)
			assert.Contains(t, errs, c.stderr)
			assert.Empty(t, out)
			assert.Equal(t, c.code == 0, errs == "")
		})
	}
}

func TestHelpAndVersionGoToStandardOutput(t *testing.T) {
	for _, args := range []string{"--help", "-h", "-help", "help"} {
		code, out, errs := runProgram(t, nil, args)
		assert.Zero(t, code, args)
		assert.Empty(t, errs, args)
		for _, part := range []string{"Show what programs do.", "It is for tests.", "RUNTIME_NAMESPACE", "act ", "do something", "check-ready", "trust", "--log-level", "--cloud-config FILE"} {
			assert.Contains(t, out, part, args)
		}
		for _, part := range []string{"--cloudconfig", "print-flags", "completion"} {
			assert.NotContains(t, out, part, args)
		}
	}
	for _, args := range []string{"--version", "-version"} {
		code, out, errs := runProgram(t, nil, args)
		assert.Zero(t, code, args)
		assert.Equal(t, version.String()+"\n", out, args)
		assert.Empty(t, errs, args)
	}
}

func TestSubcommandsRun(t *testing.T) {
	code, out, _ := runProgram(t, nil, "act", "twice")
	assert.Zero(t, code)
	assert.Equal(t, "done\n", out)
	code, out, _ = runProgram(t, nil, "trust")
	assert.Zero(t, code)
	assert.Contains(t, out, "CN=DigiCert Global Root G2")
}

func TestTheSpellingsOfOlderVersionsAreAccepted(t *testing.T) {
	for name, args := range map[string][]string{
		"today's":                {"--cloud-config=/c", "--log-format=json", "--log-level=debug", "--watch-all-namespaces=false"},
		"of 1.8":                 {"--cloudconfig=/c", "--logging-format=json", "--v=debug", "--watch-all-namespaces=false"},
		"of 1.8, with one dash":  {"-cloudconfig=/c", "-logging-format=json", "-v=debug", "-watch-all-namespaces=false"},
		"of 1.8, with a space":   {"-cloudconfig", "/c", "-logging-format", "json", "-v", "debug", "-watch-all-namespaces=false"},
		"the last of two counts": {"--cloud-config=/d", "-cloudconfig=/c", "--v=0", "--log-level=debug", "--log-format=json", "--watch-all-namespaces=false"},
	} {
		t.Run(name, func(t *testing.T) {
			root, s := newTestProgram(noVariables, nil)
			require.Zero(t, Run(t.Context(), root, args))
			assert.Equal(t, []any{"/c", "json", "debug", false}, []any{s.CloudConfigFile, s.LogFormat, s.LogLevel, s.WatchAll})
		})
	}
	assert.Equal(t, []string{"--a", "-1h", "-", "--", "-b"}, acceptSingleDashes([]string{"-a", "-1h", "-", "--", "-b"}), "values and arguments stay")
}

func TestVariablesOfTheEnvironmentAreRead(t *testing.T) {
	s := NewSettings(func(name string) (string, bool) {
		value, ok := map[string]string{"RUNTIME_NAMESPACE": "own", "AUTH_TYPE": ""}[name]
		return value, ok
	})
	assert.Equal(t, []string{"own", "azureCloudConfig"}, []string{s.Namespace, s.AuthType}, "an empty one counts as absent")
}

func TestProfilesAreServedOnLocalhostUnlessTheUserNamesAnotherAddress(t *testing.T) {
	for text, want := range map[string]string{"": "", ":6060": "localhost:6060", "127.0.0.1:6060": "127.0.0.1:6060", "0.0.0.0:6060": "0.0.0.0:6060", "[::1]:6060": "[::1]:6060"} {
		root, s := newTestProgram(noVariables, nil)
		require.Zero(t, Run(t.Context(), root, []string{"--pprof-address=" + text}), text)
		assert.Equal(t, want, s.PprofAddress)
		options, err := s.ManagerOptions(logr.Discard())
		require.NoError(t, err)
		assert.Equal(t, want, options.PprofBindAddress)
	}
	for _, text := range []string{"6060", "localhost", "localhost:"} {
		code, _, errs := runProgram(t, nil, "--pprof-address="+text)
		assert.Equal(t, ExitUsage, code, text)
		assert.Contains(t, errs, "write [HOST]:PORT", text)
	}
}

func TestProfilesAreServed(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(kubeconfig, []byte("{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], contexts: [{name: c, context: {cluster: c, user: ''}}], current-context: c}"), 0o600))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := Settings{Kubeconfig: kubeconfig, PprofAddress: free.Addr().String()}
	require.NoError(t, free.Close())
	config, err := s.RESTConfig()
	require.NoError(t, err)
	options, err := s.ManagerOptions(logr.Discard())
	require.NoError(t, err)
	mgr, err := ctrl.NewManager(config, options)
	require.NoError(t, err)
	go func() { _ = mgr.Start(t.Context()) }()
	client := &http.Client{Timeout: time.Second}
	assert.Eventually(t, func() bool {
		answer, err := client.Get("http://" + s.PprofAddress + "/debug/pprof/goroutine?debug=1")
		if err != nil {
			return false
		}
		defer func() { _ = answer.Body.Close() }()
		text, err := io.ReadAll(answer.Body)
		return err == nil && strings.Contains(string(text), "goroutine profile")
	}, 10*time.Second, 50*time.Millisecond)
}

func TestTheAPIServerIsNamedIfItIsNotFound(t *testing.T) {
	_, err := (&Settings{Kubeconfig: "/no/such/file"}).RESTConfig()
	require.ErrorContains(t, err, "finding the API server")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err = (&Settings{}).RESTConfig()
	assert.ErrorContains(t, err, "run in a cluster or give --kubeconfig")
}

func TestThePageOfFlagsHasThoseOfEverySubcommand(t *testing.T) {
	code, out, _ := runProgram(t, nil, "print-flags")
	require.Zero(t, code)
	for _, line := range []string{"## `example`\n\nShow what programs do.\n\n| Flag |", "| `--vault-limit=int` | `3600` | maximum calls to one vault",
		"| `--cloud-config=FILE` | `/etc/kubernetes/azure.json` | FILE that describes", "in 1.8 `-cloudconfig`", "| `--pprof-address=[HOST]:PORT` |  |",
		"### `example act`\n", "### `example act twice`\n", "### `example check-ready`\n", "| `RUNTIME_NAMESPACE` | `akv2k8s` | namespace of the installation |"} {
		assert.Contains(t, out, line)
	}
	assert.NotContains(t, out, "print-flags")
}
