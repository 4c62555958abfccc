package telemetry

import (
	"math"
	"runtime/debug"
	"strconv"
)

// Go's memory limit is a part of the container's: the rest is for what Go does not count, such as the pages of the
// program itself.
const (
	memoryShare = 90
	wholeMemory = 100
)

// memoryLimitVariable holds the container's memory limit in bytes. The chart sets it from the limit by the Downward
// API.
const memoryLimitVariable = "MEMORY_LIMIT"

// LimitMemory has Go collect garbage before the container reaches its memory limit, and returns the limit it set. It
// returns 0 and changes nothing where the variable is missing or no number, and where GOMEMLIMIT is set, which the Go
// runtime has read by then.
func LimitMemory(lookup func(string) (string, bool)) int64 {
	if value, ok := lookup("GOMEMLIMIT"); ok && value != "" {
		return 0
	}
	value, _ := lookup(memoryLimitVariable)
	size, err := strconv.ParseInt(value, 10, 64)
	if err != nil || size <= 0 || size > math.MaxInt64/wholeMemory {
		return 0
	}
	limit := size * memoryShare / wholeMemory
	debug.SetMemoryLimit(limit)
	return limit
}
