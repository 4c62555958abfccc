package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const changelog = `# Changelog

## [Unreleased]

### Added

- Not yet.

## [2.0.0] - 2026-12-01

- The first.

## [1.9.0]
`

func TestTheNotesOfAReleaseAreItsPartOfTheChangelog(t *testing.T) {
	notes, err := releaseNotes(changelog, "2.0.0")
	require.NoError(t, err)
	assert.Equal(t, "- The first.\n", notes)
	notes, err = releaseNotes(changelog, "2.1.0")
	require.NoError(t, err)
	assert.Equal(t, "### Added\n\n- Not yet.\n", notes, "before the release it is what is unreleased")
}

func TestAReleaseWithoutNotesIsRefused(t *testing.T) {
	_, err := releaseNotes(changelog, "1.9.0")
	assert.ErrorContains(t, err, "says nothing about 1.9.0")
	_, err = releaseNotes("# Changelog\n", "1.9.0")
	assert.ErrorContains(t, err, "neither a heading [1.9.0] nor [Unreleased]")
}
