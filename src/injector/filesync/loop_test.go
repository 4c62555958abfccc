package filesync

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/injector/atomicdir"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

func TestFilesAreRefreshedAtTheIntervalWithJitter(t *testing.T) {
	for name, c := range map[string]struct{ jitter, want time.Duration }{"least": {0, 270 * time.Second}, "most": {time.Hour, 330 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			released := 0
			f.config.Jitter = func(most time.Duration) time.Duration { return min(most, c.jitter) }
			f.config.ReleaseMemory = func() { released++ }
			f.restart()
			require.NoError(t, f.syncer.Sync(t.Context()))
			f.runRounds(f.syncer.KeepFresh, func(number int, wait time.Duration) bool {
				assert.Equal(t, c.want, wait)
				assert.Equal(t, number, released, "memory is released before the wait")
				return number < 4
			})
			_, answers := f.broker.requests()
			assert.Equal(t, []int{200, 304, 304, 304}, answers)
		})
	}
}

func TestTheIntervalOfTheLastAnswerCounts(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, f.syncer.Sync(t.Context()))
	var waits []time.Duration
	f.runRounds(f.syncer.KeepFresh, func(number int, wait time.Duration) bool {
		waits = append(waits, wait)
		f.broker.Lock()
		f.broker.refreshAfter = []string{"600", "1"}[number%2]
		f.broker.Unlock()
		return number < 3
	})
	assert.Equal(t, []time.Duration{330 * time.Second, 66 * time.Second, 660 * time.Second}, waits)
}

func TestFilesThatAreWrittenOnceAreNotRequestedAgain(t *testing.T) {
	f := newFixture(t)
	f.broker.refreshAfter = "0"
	require.NoError(t, f.syncer.Sync(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	f.syncer.KeepFresh(ctx)
	assert.Error(t, ctx.Err(), "the process stays until it is stopped")
	_, answers := f.broker.requests()
	assert.Len(t, answers, 1)
	assert.Empty(t, f.slept)
}

// TestAnOutageKeepsTheFiles has a broker that fails, is gone, and comes back with new files.
func TestAnOutageKeepsTheFiles(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, f.syncer.Sync(t.Context()))
	old := f.read("tls")
	f.broker.fail(unavailable)
	f.broker.set("tls", map[string]string{"tls.crt": "2"})
	var waits []time.Duration
	f.runRounds(f.syncer.KeepFresh, func(number int, wait time.Duration) bool {
		waits = append(waits, wait)
		if number == 14 {
			f.broker.fail(nil)
		}
		if number <= 14 {
			assert.Equal(t, old, f.read("tls"))
		}
		return number < 16
	})
	assert.Equal(t, map[string]string{"tls.crt": "2"}, f.read("tls"))
	s := time.Second
	assert.Equal(t, []time.Duration{330 * s, s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s, 128 * s, 256 * s, 300 * s, 300 * s, 300 * s, 300 * s}, waits[:14])
	assert.Contains(t, waits[14:], atomicdir.GracePeriod)
	etags, answers := f.broker.requests()
	assert.Equal(t, 200, answers[len(answers)-1])
	assert.Equal(t, etags[1], etags[len(etags)-1], "the ETag is still that of the files")

	log := f.log.String()
	assert.Contains(t, log, `msg="the files were not refreshed and stay as they are" retryIn=1s reason=VaultUnavailable error="the vault does not answer"`)
	assert.Contains(t, log, "droppedLines=5", "the warnings of the first minute are one line")
	assert.Less(t, f.countWarnings(), 9)
	assert.Equal(t, 1, strings.Count(log, "the files are refreshed again"))
}

func TestABrokerThatIsGoneIsRetried(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, f.syncer.Sync(t.Context()))
	f.server.Close()
	old := f.read("app")
	f.runRounds(f.syncer.KeepFresh, func(number int, _ time.Duration) bool { return number < 4 })
	assert.Equal(t, old, f.read("app"))
	assert.Contains(t, f.log.String(), "check that the pods of the env-injector are running")
}

func TestWaitsAfterAFailure(t *testing.T) {
	for name, c := range map[string]struct {
		refreshAfter string
		asked        int
		want         []time.Duration
	}{
		"what the server asks for is added":    {"300", 20, []time.Duration{21 * time.Second, 22 * time.Second, 24 * time.Second}},
		"the interval is the longest":          {"60", 59, []time.Duration{60 * time.Second, 60 * time.Second, 60 * time.Second}},
		"a server can't stop a pod for a day":  {"86400", 86_400, []time.Duration{61 * time.Second, 62 * time.Second, 64 * time.Second}},
		"less than nothing":                    {"60", -7, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}},
		"a pod whose files are written once":   {"0", 0, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}},
		"an hour is too long after an outage":  {"86400", 0, nil},
		"the shortest interval, and an outage": {"60", 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.broker.refreshAfter = c.refreshAfter
			require.NoError(t, f.syncer.Sync(t.Context()))
			err := &fault.Error{Kind: fault.Throttled, RetryAfter: time.Duration(c.asked) * time.Second}
			for _, want := range c.want {
				assert.Equal(t, want, f.syncer.nextRetry(err))
			}
			for range 20 {
				f.syncer.nextRetry(err)
			}
			last := f.syncer.nextRetry(err)
			assert.LessOrEqual(t, last, limits.FilesRetryWait)
			if f.syncer.refreshAfter > 0 {
				assert.LessOrEqual(t, last, f.syncer.refreshAfter)
			}
			f.syncer.config.Jitter = func(time.Duration) time.Duration { return 0 }
			assert.Equal(t, max(min(time.Duration(c.asked)*time.Second, limits.InjectorRetryAfter), 0), f.syncer.nextRetry(err), "all other of the wait is random")
		})
	}
}

// TestARestartedSidecarKeepsTheFiles has a process whose first request fails: the program uses the files already.
func TestARestartedSidecarKeepsTheFiles(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, f.syncer.Sync(t.Context()))
	old := f.read("tls")
	f.restart()
	f.broker.fail(unavailable)
	f.runRounds(f.syncer.Resume, func(number int, wait time.Duration) bool {
		switch number {
		case 1:
			assert.Equal(t, atomicdir.GracePeriod, wait, "it does not wait for an interval that it does not know")
		case 3:
			f.broker.fail(nil)
		}
		assert.Equal(t, old, f.read("tls"))
		return number < 5
	})
	etags, answers := f.broker.requests()
	assert.Equal(t, []int{200, 503, 503, 200, 304}, answers)
	assert.Empty(t, etags[3], "it does not know which files it has")
	assert.Equal(t, old, f.read("tls"))
	assert.Equal(t, 1, strings.Count(f.log.String(), "new files were written"), "what is the same is not written")
}

func TestARoundThatIsStoppedEndsTheLoop(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, f.syncer.Sync(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	f.onSleep = func(time.Duration) error {
		cancel() // while the request is sent
		return nil
	}
	f.config.Sleep = func(_ context.Context, d time.Duration) error { return f.sleep(t.Context(), d) }
	f.restart()
	f.syncer.KeepFresh(ctx)
	assert.Len(t, f.slept, 1)
	assert.Zero(t, f.countWarnings())
}

// TestAnswersThatAreWrongKeepTheFiles covers the loop: what is wrong can be correct in the next answer.
func TestAnswersThatAreWrongKeepTheFiles(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, f.syncer.Sync(t.Context()))
	old := f.read("tls")
	f.broker.Lock()
	correct := f.broker.directories
	f.broker.directories = map[string]map[string]wire.FileContent{"tls": {"../" + "x": {Content: []byte(canary)}}, "app": {}}
	f.broker.Unlock()
	f.runRounds(f.syncer.KeepFresh, func(number int, _ time.Duration) bool {
		assert.Equal(t, old, f.read("tls"))
		if number == 3 {
			f.broker.Lock()
			f.broker.directories = correct
			f.broker.Unlock()
		}
		return number < 5
	})
	assert.Equal(t, 1, f.countWarnings())
	assert.Contains(t, f.log.String(), "the files are refreshed again")
}
