package fuzzbudget

import (
	"runtime/metrics"
	"testing"
	"time"
)

// Budget is the maximum cost of one input.
type Budget struct {
	// Time is the maximum time of one input. The shortest of several runs counts, because the machine can be busy.
	Time time.Duration
	// Bytes is the maximum of allocated bytes for an empty input. Each byte of the input adds PerByte.
	Bytes, PerByte int64
}

// attempts is the number of runs of a slow input before it fails the test.
const attempts = 3

// Check calls run, which tests an input of size bytes, and fails the test if it exceeds the budget. It can call run
// several times.
func Check(t *testing.T, b Budget, size int, run func()) {
	t.Helper()
	var took time.Duration
	for range attempts {
		before, started := allocated(), time.Now()
		run()
		took = time.Since(started)
		if bytes, most := int64(allocated()-before), b.Bytes+b.PerByte*int64(size); bytes > most {
			t.Fatalf("an input of %d bytes made the parser allocate %d bytes; its budget is %d", size, bytes, most)
		}
		if took <= b.Time {
			return
		}
	}
	t.Fatalf("an input of %d bytes took %s in each of %d runs; its budget is %s", size, took, attempts, b.Time)
}

// allocated returns the number of bytes that the process has allocated so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
