package telemetry

import (
	"math"
	"runtime/debug"
	"strconv"
)

// Go's memory limit is a share of the container's, in percent. The rest is for memory that Go does not count, such as
// the pages of the program itself.
const (
	memoryLimitPercent = 90
	hundredPercent     = 100
)

// memoryLimitVariable holds the container's memory limit in bytes. The chart sets it by the downward API.
const memoryLimitVariable = "MEMORY_LIMIT"

// LimitMemory sets Go's soft memory limit below that of the container, and returns it in bytes. lookup reads an
// environment variable. LimitMemory changes nothing and returns 0 if the variable is missing or not a number, or if
// GOMEMLIMIT is set, which the Go runtime reads itself.
func LimitMemory(lookup func(string) (string, bool)) int64 {
	if value, ok := lookup("GOMEMLIMIT"); ok && value != "" {
		return 0
	}
	value, _ := lookup(memoryLimitVariable)
	size, err := strconv.ParseInt(value, 10, 64)
	if err != nil || size <= 0 || size > math.MaxInt64/hundredPercent {
		return 0
	}
	limit := size * memoryLimitPercent / hundredPercent
	debug.SetMemoryLimit(limit)
	return limit
}
