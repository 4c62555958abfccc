package injector_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// doublingVariables are variables that each expand to twice the one before, with the list for the injector.
func doublingVariables(count int) []string {
	environ, names := []string{"A=db@azurekeyvault", "V0=$(A)"}, []string{`"V0"`}
	for i := range count {
		environ = append(environ, fmt.Sprintf("V%d=$(V%d)$(V%d)", i+1, i, i))
		names = append(names, fmt.Sprintf(`"V%d"`, i+1))
	}
	return append(environ, `ENV_INJECTOR_EXPAND={"args":[1],"env":[`+strings.Join(names, ",")+`]}`)
}

// sharingVariables are variables that each expand to a value of 100 KiB, with the list for the injector.
func sharingVariables(count int) []string {
	environ, names := []string{"BIG=" + strings.Repeat("x", 100<<10)}, []string{}
	for i := range count {
		environ = append(environ, fmt.Sprintf("S%d=$(BIG)", i))
		names = append(names, fmt.Sprintf(`"S%d"`, i))
	}
	return append(environ, `ENV_INJECTOR_EXPAND={"env":[`+strings.Join(names, ",")+`]}`)
}

func TestWhatGrowsBeyondWhatLinuxPassesOnIsGivenUpBeforeItIsMade(t *testing.T) {
	twice := strings.Repeat(`"V1",`, 20_000)
	for name, c := range map[string]struct {
		environ []string
		args    []string
		code    int
		says    string
	}{
		"variables that double":       {doublingVariables(60), []string{"app"}, 64, "expanding variable V1"},
		"an argument":                 {doublingVariables(16), []string{"app", strings.Repeat("$(V16)", 200)}, 64, "expanding argument 1"},
		"many that fit alone":         {sharingVariables(100), []string{"app"}, 64, "expanding variable S"},
		"what fits":                   {doublingVariables(10), []string{"app", "$(V10)"}, 126, ""},
		"one that is named too often": {append([]string{`ENV_INJECTOR_EXPAND={"env":[` + strings.TrimSuffix(twice, ",") + `]}`}, "A=db@azurekeyvault", "V1=$(V1)$(V1)$(A)"), []string{"app"}, 126, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFixture(t, c.environ...)
			b.config.Args = c.args
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			assert.Equal(t, c.code, b.run())
			runtime.ReadMemStats(&after)
			assert.Contains(t, b.message, c.says)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8*limits.EnvironmentBytes), "bytes allocated")
			if c.code == 64 {
				assert.Contains(t, b.message, "spec.output.secret", "it says the way out")
				assert.Empty(t, b.path)
			}
		})
	}
}

func TestAnArgumentIsExpandedOnceHoweverOftenItIsNamed(t *testing.T) {
	b := newFixture(t, `ENV_INJECTOR_EXPAND={"args":[1,1]}`, "A=db@azurekeyvault", "TEXT=$(A)")
	b.config.Args = []string{"app", "$(TEXT)"}
	b.run()
	assert.Equal(t, []string{"app", "$(A)"}, b.args)
}
