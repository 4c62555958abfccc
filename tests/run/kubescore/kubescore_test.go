package kubescore

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestWhatKubeScoreFindsIsAnExceptionOrAnError(t *testing.T) {
	const report = `[{"type_meta": {"kind": "Job"}, "object_meta": {"name": "hook"}, "checks": [
		{"check": {"id": "critical"}, "grade": 1, "comments": [{"summary": "no limit"}]},
		{"check": {"id": "skipped"}, "grade": 1, "skipped": true, "comments": [{"summary": "not looked at"}]},
		{"check": {"id": "good"}, "grade": 10}]},
		{"type_meta": {"kind": "Deployment"}, "object_meta": {"name": "app"}, "checks": [{"check": {"id": "critical"}, "grade": 5, "comments": [{"summary": "few"}]}]}]`
	judge := func(exceptions ...string) error {
		i := installation{exceptions: map[string]string{}}
		for _, e := range exceptions {
			i.exceptions[e] = "why"
		}
		return i.judge([]byte(report))
	}
	assert.NoError(t, judge("critical of Job", "critical of Deployment"))
	assert.ErrorContains(t, judge("critical of Deployment"), "critical of Job hook: no limit")
	assert.ErrorContains(t, judge("critical of Job"), "critical of Deployment app: few", "a warning counts, and an exception is of one kind")
	assert.ErrorContains(t, judge("critical of Job", "critical of Deployment", "good of Job"), "does not find good of Job", "an exception that nothing needs")
	assert.Error(t, installation{}.judge([]byte("[]")), "it looked at nothing")
	assert.Error(t, installation{}.judge([]byte("panic")))
}

func TestEveryExceptionHasAReason(t *testing.T) {
	for _, i := range installations() {
		for what, why := range i.exceptions {
			assert.Greater(t, len(why), 30, what)
		}
	}
}
