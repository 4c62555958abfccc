//go:build race

package atomicdir_test

const raceEnabled = true
