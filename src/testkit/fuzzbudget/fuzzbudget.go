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

// maxAttempts is the number of runs of a slow input before it fails the test.
const maxAttempts = 3

// Check calls run, which tests an input of size bytes, and fails the test if it exceeds the budget. It can call run
// several times.
func Check(t *testing.T, b Budget, size int, run func()) {
	t.Helper()
	var took time.Duration
	for range maxAttempts {
		before, started := allocatedBytes(), time.Now()
		run()
		took = time.Since(started)
		if bytes, most := int64(allocatedBytes()-before), b.Bytes+b.PerByte*int64(size); bytes > most {
			t.Fatalf("an input of %d bytes made the parser allocate %d bytes; its budget is %d", size, bytes, most)
		}
		if took <= b.Time {
			return
		}
	}
	t.Fatalf("an input of %d bytes took %s in each of %d runs; its budget is %s", size, took, maxAttempts, b.Time)
}

// allocatedBytes returns the number of bytes that the process has allocated so far.
func allocatedBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
