package injector_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/injector"
)

func TestWhatIsTooLargeForLinuxIsNamed(t *testing.T) {
	longest := 32 * os.Getpagesize()
	for name, c := range map[string]struct {
		args, environ []string
		says          string
	}{
		"a variable":     {[]string{"app"}, []string{"PLAIN=x", "URL=" + strings.Repeat(canary, longest/len(canary)+1)}, "variable URL is "},
		"just too long":  {[]string{"app"}, []string{"URL=" + strings.Repeat("x", longest-len("URL="))}, fmt.Sprintf("variable URL is %d bytes long", longest+1)},
		"just not":       {[]string{"app"}, []string{"URL=" + strings.Repeat("x", longest-len("URL=")-1)}, "bytes together"},
		"an argument":    {[]string{"app", "-x", strings.Repeat(canary, longest)}, nil, "argument 2 is "},
		"all of it":      {[]string{"app", "abc"}, []string{"A=b"}, "are 72 bytes together"},
		"a program name": {[]string{strings.Repeat("x", longest)}, nil, "argument 0 is "},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFixture(t, c.environ...)
			b.config.Args = c.args
			b.config.Exec = func(string, []string, []string) error { return syscall.E2BIG }
			assert.Equal(t, 126, b.run())
			line := b.log.Bytes()[bytes.LastIndex(bytes.TrimSpace(b.log.Bytes()), []byte("\n"))+1:]
			assert.Contains(t, string(line), c.says)
			assert.Contains(t, string(line), "spec.output.secret")
		})
	}
}

// TestAProgramThatIsNamedByAValueIsNotNamedInTheLog has a secret as the program's name; run searches the log for it.
func TestAProgramThatIsNamedByAValueIsNotNamedInTheLog(t *testing.T) {
	for _, failure := range []error{fs.ErrNotExist, syscall.EACCES, syscall.ENOEXEC, syscall.E2BIG, syscall.EIO} {
		b := newFixture(t, "A=db@azurekeyvault", `ENV_INJECTOR_EXPAND={"args":[0]}`)
		b.config.Args = []string{"$(A)"}
		b.config.Exec = func(_ string, args, _ []string) error {
			assert.Equal(t, []string{canary}, args)
			return failure
		}
		b.run()
		assert.Contains(t, b.log.String(), "starting the program $(A): ")
	}
}

func TestThousandsOfVariablesThatUseEachOtherTakeNoTime(t *testing.T) {
	const count = 10_000
	environ, names := []string{"A=db@azurekeyvault"}, strings.Builder{}
	for i := range count {
		environ = append(environ, fmt.Sprintf("V%d=$(A)$(V%d)", i, count-1-i))
		fmt.Fprintf(&names, `,"V%d"`, i)
	}
	b := newFixture(t, append(environ, `ENV_INJECTOR_EXPAND={"env":[`+names.String()[1:]+`]}`)...)
	started := time.Now()
	b.run()
	assert.Less(t, time.Since(started), 2*time.Second)
	require.Len(t, b.environ, count+4)
	_, err := injector.References(b.environ)
	assert.NoError(t, err)
}
