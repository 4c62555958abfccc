package telemetry

import (
	"math"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGoStaysBelowTheMemoryLimitOfTheContainer(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	limit := func(variables map[string]string) int64 {
		debug.SetMemoryLimit(before)
		set := LimitMemory(func(name string) (string, bool) { value, ok := variables[name]; return value, ok })
		if set > 0 {
			assert.Equal(t, set, debug.SetMemoryLimit(-1))
		} else {
			assert.Equal(t, before, debug.SetMemoryLimit(-1), "nothing changes")
		}
		return set
	}
	assert.Equal(t, int64(512<<20)*9/10, limit(map[string]string{"MEMORY_LIMIT": strconv.Itoa(512 << 20)}))
	for name, variables := range map[string]map[string]string{
		"no variable": nil, "no value": {"MEMORY_LIMIT": ""}, "no number": {"MEMORY_LIMIT": "512Mi"}, "none": {"MEMORY_LIMIT": "0"}, "negative": {"MEMORY_LIMIT": "-1"},
		"too large": {"MEMORY_LIMIT": strconv.Itoa(math.MaxInt64)}, "the user's own": {"MEMORY_LIMIT": "1000000000", "GOMEMLIMIT": "100MiB"},
	} {
		assert.Zero(t, limit(variables), name)
	}
}

func TestTheVersionIsAMetric(t *testing.T) {
	registry := prometheus.NewRegistry()
	require.NoError(t, registry.Register(NewBuildInfo("controller")))
	families, err := registry.Gather()
	require.NoError(t, err)
	require.Len(t, families, 1)
	assert.Equal(t, "akv2k8s_build_info", families[0].GetName())
	text := families[0].String()
	for _, label := range []string{"controller", "goversion", "version"} {
		assert.True(t, strings.Contains(text, label), text)
	}
}
