package version_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/version"
)

func TestVersionIsNeverEmpty(t *testing.T) { assert.NotEmpty(t, version.String()) }
