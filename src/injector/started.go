package injector

import (
	"bytes"
	"cmp"
	"errors"
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
	// mounted is the path in every container.
	mounted procfs = "/proc"
	// settling is longer than the time between the start of a container and the start of its injector. In
	// that time the main process is still the container runtime's.
	settling = 20 * time.Millisecond
)

// errWaiting is returned while the injector waits for values.
var errWaiting = errors.New("the injector waits for the values of the container's variables; see the container's log")

// checkStarted returns nil if the container's program has replaced the injector. It reads the command of the
// container's main process from the kernel. A marker file could be stale after a restart, and some containers can't
// write one.
func (p procfs) checkStarted(sleep func(time.Duration)) error {
	if p.waits() {
		return errWaiting
	}
	sleep(settling)
	if p.waits() {
		return errWaiting
	}
	return nil
}

// waits reports whether the main process of this container is the injector.
func (p procfs) waits() bool {
	content, err := os.ReadFile(p.path(p.mainProcess(), "cmdline"))
	command, _, _ := bytes.Cut(content, []byte{0})
	return err == nil && string(command) == wire.InjectorPath
}

func (p procfs) path(process, file string) string { return filepath.Join(string(p), process, file) }

// mainProcess is the ID of the first process of this container. It is 1, unless the containers of the pod share a
// process namespace, or use the node's.
func (p procfs) mainProcess() string {
	const first, self = "1", "self"
	if p.together(first, self) {
		return first
	}
	entries, _ := os.ReadDir(string(p))
	oldest, since := self, uint64(0)
	for _, entry := range entries {
		name := entry.Name()
		if _, err := strconv.Atoi(name); err != nil || !p.together(name, self) {
			continue
		}
		if started := p.started(name); started > 0 && (since == 0 || started < since) {
			oldest, since = name, started
		}
	}
	return oldest
}

// together reports whether two processes have the same mount namespace, which means the same container. The
// kernel shows the mount namespace of processes of the same user only. For other processes the control groups are
// compared, although some runtimes split a container into several.
func (p procfs) together(a, b string) bool {
	one, errOne := os.Readlink(p.path(a, "ns/mnt"))
	other, errOther := os.Readlink(p.path(b, "ns/mnt"))
	if errOne != nil || errOther != nil {
		return p.group(a) == p.group(b)
	}
	return one == other
}

// group is the path of a process's control group: that of a version 1 controller that every container has,
// else that of version 2, whose line begins with 0.
func (p procfs) group(process string) string {
	content, err := os.ReadFile(p.path(process, "cgroup"))
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

// fieldStart is the index of the start time in the fields of stat that follow the command's name.
const fieldStart = 19

// started is the start time of a process in clock ticks since boot; 0 if the process is gone.
func (p procfs) started(process string) uint64 {
	content, _ := os.ReadFile(p.path(process, "stat"))
	// The name is in parentheses and can contain any character, including parentheses.
	fields := bytes.Fields(content[bytes.LastIndexByte(content, ')')+1:])
	if len(fields) <= fieldStart {
		return 0
	}
	ticks, _ := strconv.ParseUint(string(fields[fieldStart]), 10, 64)
	return ticks
}
