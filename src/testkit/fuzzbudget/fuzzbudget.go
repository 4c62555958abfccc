package fuzzbudget

import (
	"runtime/metrics"
	"testing"
	"time"
)

// Budget is what one input may cost.
type Budget struct {
	// Time is the longest that one input may take. The machine may be busy, so the shortest of several runs counts.
	Time time.Duration
	// Bytes is the most that may be allocated for an empty input, and PerByte what each byte of the input adds.
	Bytes, PerByte int64
}

// attempts is how often an input that took too long is tried before it fails the test.
const attempts = 3

// Check runs the code under test for an input of the given size in bytes, and fails the test beyond the budget. run
// must be safe to repeat.
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

// allocated is how many bytes the process has allocated so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
