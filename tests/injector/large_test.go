package injector

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// repeated are that many variables of one value.
func repeated(count int, prefix, value string) []string {
	variables := make([]string, count)
	for i := range variables {
		variables[i] = fmt.Sprintf("%s%d=%s", prefix, i, value)
	}
	return variables
}

// together is how much all of it is.
var together = regexp.MustCompile(`\d+ bytes together`)

// large goes up to what Linux passes on to a program, and beyond, through the auth service and without it. The object
// of the same name holds the value.
func (m *modes) large(t *testing.T, large string) {
	text := strings.Repeat("x", 70)
	composed := wire.EnvExpand + `={"args":[1],"env":["URL"]}`
	for name, c := range map[string]struct {
		variables, command []string
		code               int
		log                string
		// environ is what the program has besides what every one of these has.
		environ []string
	}{
		"10,000 variables, a thousand of them references, in more than 1 MiB": {
			slices.Concat(repeated(9000, "P", text), repeated(980, "R", "plain@azurekeyvault"), repeated(20, "L", "large@azurekeyvault")), []string{"sh", "-c", "cat /proc/$$/environ"}, 0, "",
			slices.Concat(repeated(9000, "P", text), repeated(980, "R", "value"), repeated(20, "L", large))},
		"more than Linux passes on": {repeated(100, "L", "large@azurekeyvault"), []string{"sh", "-c", "echo started"}, 126, "its arguments and variables are 2", nil},
		"more than it ever does":    {repeated(300, "L", "large@azurekeyvault"), []string{"sh", "-c", "echo started"}, 64, "more than 6 MiB together", nil},
		"a variable that gets too long": {[]string{"A=large@azurekeyvault", "URL=" + strings.Repeat("$(A)", 6), composed}, []string{"sh", "-c", "echo started"}, 126,
			"starting the program sh: variable URL is 149999 bytes long", nil},
		"an argument that gets too long": {[]string{"A=large@azurekeyvault", "URL=$(A)", composed}, []string{"echo", strings.Repeat("$(A)", 6)}, 126, "argument 1 is 149995 bytes long", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]result{}
			for name, by := range m.ways {
				got[name] = m.start(t, by, c.variables, c.command...)
			}
			through := got["through the auth service"]
			for name, other := range got { // in direct mode the environment has other variables besides
				assert.Equal(t, []any{through.Code, together.ReplaceAllString(through.Log, "")}, []any{other.Code, together.ReplaceAllString(other.Log, "")}, name)
			}
			require.Equal(t, c.code, through.Code, "%.2000s", through.Log)
			assert.Contains(t, through.Log, c.log)
			assert.LessOrEqual(t, strings.Count(through.Log, "\n"), 1, "one line")
			if c.code != 0 {
				assert.Contains(t, through.Log, "spec.output.secret", "it says the way out")
				for name, by := range got {
					assert.Empty(t, by.Out, "nothing was started, %s", name)
				}
				return
			}
			for _, r := range got {
				environ := map[string]bool{}
				for entry := range strings.SplitSeq(r.Out, "\x00") {
					environ[entry] = true
				}
				for _, want := range c.environ {
					require.True(t, environ[want], "%.100s", want)
				}
				assert.Greater(t, len(r.Out), 1<<20)
			}
		})
	}
}
