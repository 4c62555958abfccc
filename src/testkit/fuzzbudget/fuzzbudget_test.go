package fuzzbudget_test

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

var sink []byte

// TestChild exceeds a budget, for the test below, in a process of its own.
func TestChild(t *testing.T) {
	budget := fuzzbudget.Budget{Time: 100 * time.Millisecond, Bytes: 1 << 20, PerByte: 10}
	switch os.Getenv("EXCEED") {
	case "time":
		fuzzbudget.Check(t, budget, 1, func() { time.Sleep(150 * time.Millisecond) })
	case "bytes":
		fuzzbudget.Check(t, budget, 1, func() { sink = make([]byte, 2<<20) })
	default:
		fuzzbudget.Check(t, budget, 1<<20, func() { sink = make([]byte, 2<<20) })
	}
}

func TestAnInputBeyondItsBudgetFailsTheTarget(t *testing.T) {
	for what, says := range map[string]string{"time": "its budget is 100ms", "bytes": "its budget is 1048586"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
		cmd.Env = append(os.Environ(), "EXCEED="+what)
		out, err := cmd.CombinedOutput()
		require.Error(t, err, what)
		assert.Contains(t, string(out), says)
	}
}
