package injector

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// process is a process in the proc file system of a test.
type process struct {
	pid              int
	command          string
	group, namespace string
	started          int
}

const (
	// appGroup is the control group of the probed container, two that of another container.
	appGroup   = "12:pids:/kubepods/pod1/app\n11:cpu,memory:/kubepods/pod1/app\n0::/\n"
	otherGroup = "12:pids:/kubepods/pod1/two\n11:cpu,memory:/kubepods/pod1/two\n0::/\n"
	// unifiedGroup and unifiedOtherGroup are the same with control groups of version 2 only, as seen from the probed container.
	unifiedGroup, unifiedOtherGroup = "0::/\n", "0::/../two\n"
)

// writeProcfs writes a proc file system with these processes. The last one is the probe.
func writeProcfs(t *testing.T, processes ...process) procfs {
	t.Helper()
	root := t.TempDir()
	for _, p := range processes {
		folder := filepath.Join(root, fmt.Sprint(p.pid))
		require.NoError(t, os.MkdirAll(filepath.Join(folder, "ns"), 0o700))
		for file, content := range map[string]string{"cgroup": p.group, "cmdline": p.command + "\x00an argument\x00",
			"stat": fmt.Sprintf("%d (odd) name 1) S 0 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0", p.pid, p.started)} {
			require.NoError(t, os.WriteFile(filepath.Join(folder, file), []byte(content), 0o600))
		}
		if p.namespace != "" {
			require.NoError(t, os.Symlink(p.namespace, filepath.Join(folder, "ns", "mnt")))
		}
	}
	require.NoError(t, os.Symlink(fmt.Sprint(processes[len(processes)-1].pid), filepath.Join(root, "self")))
	return procfs(root)
}

func TestTheCommandOfAProbeRunsAfterTheProgramHasStarted(t *testing.T) {
	var became [][]string
	p := Program{Args: []string{wire.HasStartedPath, "sh", "-c", "true"}, Environ: []string{"PATH=/usr/bin:/bin", "A=b"}, Stdout: io.Discard, Stderr: io.Discard,
		Exec: func(path string, argv, environ []string) error {
			became = append(became, append([]string{path}, argv...))
			assert.Equal(t, []string{"PATH=/usr/bin:/bin", "A=b"}, environ)
			return errors.New("not replaced in a test")
		}}
	assert.Equal(t, exitUsage, p.Run(t.Context()), "this process is not the injector, so its program has started")
	require.Len(t, became, 1)
	assert.Equal(t, "sh", filepath.Base(became[0][0]))
	assert.Equal(t, []string{"sh", "-c", "true"}, became[0][1:])
	p.Args = []string{wire.HasStartedPath, "no-such-program"}
	assert.Equal(t, exitUsage, p.Run(t.Context()))
	p.Args = []string{wire.HasStartedPath}
	assert.Zero(t, p.Run(t.Context()))
	assert.Len(t, became, 1)
}

func TestTheProgramHasStartedWhenTheMainProcessIsNotTheInjector(t *testing.T) {
	const injector, probe, program, pause = wire.InjectorPath, wire.HasStartedPath, "/app", "/pause"
	for name, c := range map[string]struct {
		processes []process
		waits     bool
	}{
		"waiting":     {[]process{{1, injector, appGroup, "a", 100}, {9, probe, appGroup, "a", 200}}, true},
		"started":     {[]process{{1, program, appGroup, "a", 100}, {9, probe, appGroup, "a", 200}}, false},
		"with a fork": {[]process{{1, program, appGroup, "a", 100}, {2, "/fork", appGroup, "a", 110}, {9, probe, appGroup, "a", 200}}, false},
		"with a command of the user's that gets values": {
			[]process{{1, program, appGroup, "a", 100}, {7, injector, appGroup, "a", 150}, {9, probe, appGroup, "a", 200}}, false},
		"shared, waiting": {[]process{{1, pause, otherGroup, "p", 1}, {7, program, otherGroup, "b", 50}, {8, injector, appGroup, "a", 100}, {9, probe, appGroup, "a", 200}}, true},
		"shared, started": {[]process{{1, pause, otherGroup, "p", 1}, {7, injector, otherGroup, "b", 50}, {8, program, appGroup, "a", 100}, {9, probe, appGroup, "a", 200}}, false},
		"shared, of another user": {
			[]process{{1, pause, otherGroup, "", 1}, {7, injector, otherGroup, "", 50}, {8, program, appGroup, "", 100}, {9, probe, appGroup, "a", 200}}, false},
		"shared, of another user, waiting": {
			[]process{{1, pause, otherGroup, "", 1}, {7, program, otherGroup, "", 50}, {8, injector, appGroup, "", 100}, {9, probe, appGroup, "a", 200}}, true},
		"shared, with a fork of the program before it in the list": {
			[]process{{1, pause, otherGroup, "p", 1}, {10, injector, appGroup, "a", 100}, {9, probe, appGroup, "a", 200}}, true},
		"shared, started, with a command of the user's before it in the list": {
			[]process{{1, pause, otherGroup, "p", 1}, {10, injector, appGroup, "a", 150}, {8, program, appGroup, "a", 100},
				{9, probe, appGroup, "a", 200}}, false},
		"shared, version 2, waiting": {
			[]process{{1, pause, unifiedOtherGroup, "p", 1}, {7, program, unifiedOtherGroup, "b", 50}, {8, injector, unifiedGroup, "a", 100}, {9, probe, unifiedGroup, "a", 200}}, true},
		"shared, version 2, started": {
			[]process{{1, pause, unifiedOtherGroup, "p", 1}, {7, injector, unifiedOtherGroup, "b", 50}, {8, program, unifiedGroup, "a", 100}, {9, probe, unifiedGroup, "a", 200}}, false},
		"shared, in one control group": {
			[]process{{1, pause, "", "p", 1}, {7, program, "", "b", 50}, {8, injector, "", "a", 100}, {9, probe, "", "a", 200}}, true},
		"shared, in a control group that the runtime divides": {
			[]process{{1, pause, unifiedOtherGroup, "p", 1}, {8, injector, "0::/\n", "a", 100}, {9, probe, "0::/../app\n", "a", 200}}, true},
		"without control groups": {[]process{{1, injector, "", "", 100}, {9, probe, "", "", 200}}, true},
		"in a control group of its own making": {
			[]process{{1, pause, unifiedOtherGroup, "p", 1}, {8, program, "0::/mine\n", "a", 100}, {9, probe, unifiedGroup, "a", 200}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := writeProcfs(t, c.processes...).checkStarted(func(time.Duration) {})
			assert.Equal(t, c.waits, err != nil, "%v", err)
		})
	}
}

func TestAContainerIsNotTakenForStartedBeforeItsInjectorIs(t *testing.T) {
	p := writeProcfs(t, process{1, "runc", appGroup, "a", 100}, process{9, wire.HasStartedPath, appGroup, "a", 200})
	err := p.checkStarted(func(d time.Duration) {
		assert.Equal(t, injectorStartDelay, d)
		require.NoError(t, os.WriteFile(filepath.Join(string(p), "1", "cmdline"), []byte(wire.InjectorPath+"\x00/app\x00"), 0o600))
	})
	assert.Equal(t, errWaiting, err)
}

func TestAProcessThatIsGoneHasNoStart(t *testing.T) {
	p := writeProcfs(t, process{1, "/app", appGroup, "a", 100})
	assert.EqualValues(t, 100, p.startTimeOf("1"))
	assert.Zero(t, p.startTimeOf("2"))
}

func TestTheTerminationMessageIsBounded(t *testing.T) {
	assert.Equal(t, "short", truncateText("short", 10))
	assert.Equal(t, "short�", truncateText("short\xff", 10))
	for length, want := range map[int]string{7: "ää…", 8: "ää…", 9: "äää…"} {
		got := truncateText("ääääääääääääääää", length)
		assert.Equal(t, want, got)
		assert.LessOrEqual(t, len(got), length)
	}
}

func TestTheTerminationMessageIsWrittenWhereTheKubeletReadsIt(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "log")
	environ := []string{wire.EnvTerminationLog + "=" + file}
	writeTerminationMessage(environ, "nothing comes of it")
	assert.NoFileExists(t, file, "a file that is not there is not made")
	require.NoError(t, os.WriteFile(file, []byte("something longer than the message"), 0o600))
	writeTerminationMessage(environ, "the message")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "the message", string(content))
	writeTerminationMessage([]string{wire.EnvTerminationLog + "=" + folder}, "a folder is no file")
}

func TestTheReplicaIsKnownForAMoment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth-service")
	now := time.Now()
	writeReplica(file, "")
	assert.NoFileExists(t, file)
	assert.Empty(t, readReplica(file, now))
	writeReplica(file, "10.1.2.3:9443")
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o644), info.Mode(), "any user may read it")
	now = info.ModTime()
	assert.Equal(t, "10.1.2.3:9443", readReplica(file, now.Add(replicaMaxAge)))
	assert.Empty(t, readReplica(file, now.Add(replicaMaxAge+time.Second)), "another pod may have the address")
	assert.Empty(t, readReplica(file, now.Add(-replicaMaxAge-time.Second)), "the clock was wrong")
	writeReplica(file, string(make([]byte, 2*maxReplicaBytes)))
	assert.Empty(t, readReplica(file, time.Now()))
	assert.Empty(t, readReplica(filepath.Dir(file), time.Now()))
	writeReplica(filepath.Join(file, "impossible"), "x")
}

func TestAProcessOfAProbeIsNotTheContainersOwn(t *testing.T) {
	const injector, pause = wire.InjectorPath, "/pause"
	for name, c := range map[string]struct {
		processes  []process
		parent     int
		additional bool
	}{
		"the main process":                  {[]process{{1, injector, appGroup, "a", 100}}, 0, false},
		"a probe":                           {[]process{{1, "/app", appGroup, "a", 100}, {9, injector, appGroup, "a", 200}}, 0, true},
		"a child of the program":            {[]process{{1, "/app", appGroup, "a", 100}, {9, injector, appGroup, "a", 200}}, 1, false},
		"the main process of a shared pod":  {[]process{{1, pause, otherGroup, "p", 1}, {8, injector, appGroup, "a", 100}}, 0, false},
		"a probe in a shared pod":           {[]process{{1, pause, otherGroup, "p", 1}, {8, "/app", appGroup, "a", 100}, {9, injector, appGroup, "a", 200}}, 0, true},
		"a machine with another first one":  {[]process{{1, "/init", otherGroup, "p", 1}, {8, "/bash", appGroup, "a", 100}, {9, injector, appGroup, "a", 200}}, 8, false},
		"the first of a container that has": {[]process{{1, pause, otherGroup, "p", 1}, {7, "/app", otherGroup, "b", 50}, {9, injector, appGroup, "a", 200}}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			self := c.processes[len(c.processes)-1].pid
			assert.Equal(t, c.additional, writeProcfs(t, c.processes...).isAdditional(self, c.parent))
		})
	}
}
