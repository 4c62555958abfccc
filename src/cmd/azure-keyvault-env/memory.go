package main

import (
	"runtime"
	"runtime/debug"
)

const (
	// collectAt is the growth of the heap, in percent, after which it is cleaned up.
	collectAt = 30
	// cores bounds what each of them would keep for itself.
	cores = 2
)

// thrifty keeps the process small: it lives for moments, beside a program whose limit of memory may be small, on machines of any size. It is set
// here and not in the environment, which is the program's.
func thrifty() {
	debug.SetGCPercent(collectAt)
	runtime.GOMAXPROCS(min(runtime.GOMAXPROCS(0), cores))
}
