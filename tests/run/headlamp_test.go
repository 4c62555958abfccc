package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNodeIsRecentFromTheOldestVersionOn(t *testing.T) {
	for version, want := range map[string]bool{"20.11.0": true, "20.20.2": true, "22.1.0": true, "20.10.9": false,
		"18.20.4": false, "20": false, "": false, "x.y": false} {
		assert.Equal(t, want, isNodeRecent(version), version)
	}
}
