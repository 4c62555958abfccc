package injector

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// procfs is the path of a mounted proc file system.
type procfs string

const (
	// mountedProcfs is the path in every container.
	mountedProcfs procfs = "/proc"
	// injectorStartDelay is longer than the time between the start of a container and the start of its injector. In
	// that time the main process is still the container runtime's.
	injectorStartDelay = 20 * time.Millisecond
)

// errWaiting is returned while the injector waits for values.
var errWaiting = errors.New("the injector waits for the values of the container's variables; see the container's log")

// checkStarted returns nil if the container's program has replaced the injector. It reads the command of the
// container's main process from the kernel. A marker file could be stale after a restart, and some containers can't
// write one.
func (p procfs) checkStarted(sleep func(time.Duration)) error {
	if p.isInjectorRunning() {
		return errWaiting
	}
	sleep(injectorStartDelay)
	if p.isInjectorRunning() {
		return errWaiting
	}
	return nil
}

// runStartedCheck checks whether the container's program has started, and then becomes the command of the container's
// own probe, if there is one.
func (p Program) runStartedCheck(command []string) int {
	if err := mountedProcfs.checkStarted(time.Sleep); err != nil || len(command) == 0 {
		return p.reportCommandError(err)
	}
	path, err := lookPath(command[0], valueOf(p.Environ, "PATH"))
	if err == nil {
		err = p.replaceProcess(path, command, p.Environ)
	}
	return p.reportCommandError(fmt.Errorf("starting %s: %w", command[0], err))
}

// isInjectorRunning reports whether the main process of this container is the injector.
func (p procfs) isInjectorRunning() bool {
	content, err := os.ReadFile(p.processFile(p.mainProcess(), "cmdline"))
	command, _, _ := bytes.Cut(content, []byte{0})
	return err == nil && string(command) == wire.InjectorPath
}

// isAdditional reports whether this process, with the given IDs of itself and its parent, was started in a container
// that already runs: by a probe, a hook or kubectl exec. The parent of such a process is outside of the container, so
// its ID is 0.
func (p procfs) isAdditional(id, parent int) bool {
	return id != 1 && parent == 0 && p.mainProcess() != strconv.Itoa(id)
}

func (p procfs) processFile(process, file string) string {
	return filepath.Join(string(p), process, file)
}

// mainProcess is the ID of the first process of this container. It is 1, unless the containers of the pod share a
// process namespace, or use the node's.
func (p procfs) mainProcess() string {
	const first, self = "1", "self"
	if p.isSameContainer(first, self) {
		return first
	}
	entries, _ := os.ReadDir(string(p))
	oldest, since := self, uint64(0)
	for _, entry := range entries {
		name := entry.Name()
		if _, err := strconv.Atoi(name); err != nil || !p.isSameContainer(name, self) {
			continue
		}
		if started := p.startTimeOf(name); started > 0 && (since == 0 || started < since) {
			oldest, since = name, started
		}
	}
	return oldest
}

// isSameContainer reports whether two processes have the same mount namespace, which means the same container. The
// kernel shows the mount namespace of processes of the same user only. For other processes the control groups are
// compared, although some runtimes split a container into several.
func (p procfs) isSameContainer(a, b string) bool {
	one, errOne := os.Readlink(p.processFile(a, "ns/mnt"))
	other, errOther := os.Readlink(p.processFile(b, "ns/mnt"))
	if errOne != nil || errOther != nil {
		return p.controlGroupOf(a) == p.controlGroupOf(b)
	}
	return one == other
}

// controlGroupOf is the path of a process's control group: that of a version 1 controller that every container has,
// else that of version 2, whose line begins with 0.
func (p procfs) controlGroupOf(process string) string {
	content, err := os.ReadFile(p.processFile(process, "cgroup"))
	if err != nil {
		return ""
	}
	groups := map[string]string{}
	for line := range strings.Lines(string(content)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 {
			for controller := range strings.SplitSeq(parts[1], ",") {
				groups[controller] = parts[2]
			}
		}
	}
	return cmp.Or(groups["memory"], groups["pids"], groups[""])
}

// statStartTimeField is the index of the start time in the fields of stat that follow the command's name.
const statStartTimeField = 19

// startTimeOf is the start time of a process in clock ticks since boot; 0 if the process is gone.
func (p procfs) startTimeOf(process string) uint64 {
	content, _ := os.ReadFile(p.processFile(process, "stat"))
	// The name is in parentheses and can contain any character, including parentheses.
	fields := bytes.Fields(content[bytes.LastIndexByte(content, ')')+1:])
	if len(fields) <= statStartTimeField {
		return 0
	}
	ticks, _ := strconv.ParseUint(string(fields[statStartTimeField]), 10, 64)
	return ticks
}
