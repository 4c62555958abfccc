package host

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a process of a cluster.
type Process struct {
	PID     int
	Command string
}

// Processes finds the cluster's processes by what they are, never by a remembered number: those whose command line
// names the work folder or the holder's marker, or whose cgroup is the cluster's, and which live in another mount
// namespace than this program (an editor or a kubectl of the user's that names the folder is none of ours).
func Processes(id ID, work string) []Process {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return nil
	}
	folders, _ := filepath.Glob("/proc/[0-9]*")
	var found []Process
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil || pid == os.Getpid() {
			continue
		}
		namespace, err := os.Readlink(folder + "/ns/mnt")
		if err != nil || namespace == own {
			continue
		}
		command, _ := os.ReadFile(folder + "/cmdline")
		cgroups, _ := os.ReadFile(folder + "/cgroup")
		text := string(bytes.ReplaceAll(command, []byte{0}, []byte(" ")))
		if strings.Contains(text, work+"/") || strings.Contains(text, id.Marker()) ||
			strings.Contains(string(cgroups), "/"+id.Cgroup()) {
			found = append(found, Process{PID: pid, Command: text})
		}
	}
	return found
}

// Holder is the process that owns the cluster's namespaces; ok is false if there is none.
func Holder(id ID, work string) (pid int, ok bool) {
	for _, p := range Processes(id, work) {
		if strings.HasPrefix(p.Command, id.Marker()) {
			return p.PID, true
		}
	}
	return 0, false
}

// Running is the process whose command line contains the program's path or name; ok is false if there is none.
func Running(id ID, work, program string) (pid int, ok bool) {
	for _, p := range Processes(id, work) {
		if first, _, _ := strings.Cut(p.Command, " "); filepath.Base(first) == program {
			return p.PID, true
		}
	}
	return 0, false
}

// Stop asks a program to end and waits; after patience it is killed.
func Stop(id ID, work, program string, patience time.Duration) {
	pid, ok := Running(id, work, program)
	if !ok {
		return
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, ok := Running(id, work, program); !ok {
			return
		}
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// KillAll ends every process of the cluster, holder included, and waits until they are gone.
func KillAll(id ID, work string) error {
	var left []Process
	for range 100 {
		if left = Processes(id, work); len(left) == 0 {
			return nil
		}
		for _, p := range left {
			_ = syscall.Kill(p.PID, syscall.SIGKILL)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("killing the cluster's processes: %d are left, the first is %d (%.80s)", len(left), left[0].PID,
		left[0].Command)
}
