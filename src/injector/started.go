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

// procfs is a mounted proc file system.
type procfs string

const (
	// mounted is where every container has it.
	mounted procfs = "/proc"
	// settling is longer than the moment between the start of a container and that of its injector, when its process is
	// still the runtime's.
	settling = 20 * time.Millisecond
)

// errWaiting says that the injector still waits for values.
var errWaiting = errors.New("the injector waits for the values of the container's variables; see the container's log")

// checkStarted is nil if the container's program has replaced the injector. It asks the kernel which command the
// container's main process runs, so there is no mark that could be forgotten, left over, or put where the container may
// not write.
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

// waits says whether the main process of this container is the injector.
func (p procfs) waits() bool {
	content, err := os.ReadFile(p.path(p.mainProcess(), "cmdline"))
	command, _, _ := bytes.Cut(content, []byte{0})
	return err == nil && string(command) == wire.InjectorPath
}

func (p procfs) path(process, file string) string { return filepath.Join(string(p), process, file) }

// mainProcess is the first process of this container. That is process 1, unless the pod's containers share their
// processes or the node's.
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

// together says whether two processes are of one container: of one mount namespace. The kernel tells that of processes
// of the same user, and the injector is one; of others the control group has to do, which some runtimes divide within a
// container.
func (p procfs) together(a, b string) bool {
	one, errOne := os.Readlink(p.path(a, "ns/mnt"))
	other, errOther := os.Readlink(p.path(b, "ns/mnt"))
	if errOne != nil || errOther != nil {
		return p.group(a) == p.group(b)
	}
	return one == other
}

// group is the control group of a process: of one controller that every container has, or of version 2, whose line
// begins with 0.
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

// fieldStart is the place of the start time in the fields of stat behind the command's name.
const fieldStart = 19

// started is when a process started, in ticks since the machine did; 0 if it is gone.
func (p procfs) started(process string) uint64 {
	content, _ := os.ReadFile(p.path(process, "stat"))
	// The name stands in brackets and may hold anything, brackets too.
	fields := bytes.Fields(content[bytes.LastIndexByte(content, ')')+1:])
	if len(fields) <= fieldStart {
		return 0
	}
	ticks, _ := strconv.ParseUint(string(fields[fieldStart]), 10, 64)
	return ticks
}
