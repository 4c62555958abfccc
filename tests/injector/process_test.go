package injector

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// look is a program that tells everything about its process that the injector could have changed. It is run with and
// without the injector.
const look = `cat /proc/$$/environ > "$1/environ"
tr '\0' '|' < /proc/$$/cmdline > "$1/cmdline"
ls -l /proc/$$/fd > "$1/raw"
sed 's/.*[0-9] \([0-9]* ->\)/\1/; /pipe:/s/->.*/-> pipe/; /total/d' "$1/raw" > "$1/fd"; rm "$1/raw"
umask > "$1/umask"
pwd > "$1/pwd"
grep -E '^(Sig(Blk|Ign)|Uid|Gid|Groups|NoNewPrivs|Cap|Seccomp):' /proc/$$/status | grep -v '^Sig.*Q' > "$1/status"
ulimit -a > "$1/ulimit"
cat /proc/$$/oom_score_adj > "$1/oom"
cat <&3 > "$1/third"
`

// TestTheProcessIsAsItWouldBeWithoutTheInjector compares the process of a program with and without it.
func TestTheProcessIsAsItWouldBeWithoutTheInjector(t *testing.T) {
	build(t).each(t, theProcessIsAsItWouldBe)
}

func theProcessIsAsItWouldBe(t *testing.T, injector string) {
	shell, err := exec.LookPath("sh")
	require.NoError(t, err)
	folder := t.TempDir()
	script := filepath.Join(folder, "look.sh")
	require.NoError(t, os.WriteFile(script, []byte(look), 0o600))
	third := filepath.Join(folder, "third")
	require.NoError(t, os.WriteFile(third, []byte("of the third descriptor"), 0o600))
	described := map[string]map[string]string{}
	before := syscall.Umask(0o037)
	defer syscall.Umask(before)
	for _, how := range []string{"with", "without"} {
		into := filepath.Join(folder, how)
		require.NoError(t, os.Mkdir(into, 0o700))
		descriptor, err := os.Open(third)
		require.NoError(t, err)
		arguments := []string{shell, script, into, "a b", "", "-x", "$(NAME)", "line\nbreak", "\xff\xfe", "--"}
		env := []string{"PATH=" + os.Getenv("PATH"), "EMPTY=", "SPACES= a  b ", "EQUALS=a=b=c", "BYTES=\xff\xfe", "LINES=a\nb", "AZURE_CLIENT_ID=kept", "DOLLARS=$(X) $$"}
		cmd := &exec.Cmd{Path: shell, Args: arguments, Env: env, Dir: folder, ExtraFiles: []*os.File{descriptor}}
		if how == "with" {
			cmd.Path, cmd.Args = injector, append([]string{wire.InjectorPath}, arguments...)
			cmd.Env = append(env, wire.EnvCA+"=x", wire.EnvReferences+`={"A":"a@azurekeyvault?b"}`, wire.EnvAddedVariables+"="+strings.Join([]string{wire.EnvCA, wire.EnvReferences, wire.EnvAddedVariables}, ","))
		}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		assert.Empty(t, string(out), "it is silent")
		require.NoError(t, descriptor.Close())
		described[how] = map[string]string{}
		entries, err := os.ReadDir(into)
		require.NoError(t, err)
		for _, entry := range entries {
			content, err := os.ReadFile(filepath.Join(into, entry.Name()))
			require.NoError(t, err)
			described[how][entry.Name()] = strings.ReplaceAll(string(content), into, "INTO")
		}
	}
	require.Len(t, described["without"], 9)
	for what, want := range described["without"] {
		require.NotEmpty(t, want, what)
		assert.Equal(t, want, described["with"][what], what)
	}
	assert.Equal(t, "0037\n", described["with"]["umask"])
	assert.Equal(t, "of the third descriptor", described["with"]["third"])
}

// TestTheTerminalIsTheProgramsOwn runs a program with a terminal, with and without the injector in front of it.
func TestTheTerminalIsTheProgramsOwn(t *testing.T) { build(t).each(t, theTerminalIsTheProgramsOwn) }

func theTerminalIsTheProgramsOwn(t *testing.T, injector string) {
	seen := map[string]string{}
	for how, program := range map[string]string{"with": `bash -c 'exec -a ` + wire.InjectorPath + ` "$@"' bash ` + injector + ` sh -c`, "without": "sh -c"} {
		cmd := exec.Command("script", "-qec", program+` 'tty >/dev/null && echo a terminal; stty -a; read line; echo "read $line"; test -t 2 && echo errors too'`, "/dev/null")
		cmd.Env = append(os.Environ(), "TERM=dumb", "SHELL=/bin/sh")
		cmd.Stdin = strings.NewReader("typed\n")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		seen[how] = string(out)
	}
	assert.Contains(t, seen["with"], "a terminal")
	assert.Contains(t, seen["with"], "read typed")
	assert.Contains(t, seen["with"], "errors too")
	assert.Equal(t, seen["without"], seen["with"])
}
