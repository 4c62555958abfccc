package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestExecutionsAreReadFromTheLastProgressLine(t *testing.T) {
	output := "fuzz: elapsed: 0s, gathering baseline coverage: 0/12 completed\n" +
		"fuzz: elapsed: 3s, execs: 1200 (400/sec), new interesting: 1 (total: 13)\n" +
		"fuzz: elapsed: 6s, execs: 2500 (433/sec), new interesting: 1 (total: 13)\nPASS\n"
	assert.Equal(t, 2500, executions(output))
	assert.Zero(t, executions("fuzz: elapsed: 0s, gathering baseline coverage: 0/12 completed\n"))
}
