package host

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchies are the mount points of cgroup v1 controllers; on a cgroup v2 machine it is the root alone.
func hierarchies() []string {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{cgroupRoot}
	}
	var found []string
	folders, _ := filepath.Glob(filepath.Join(cgroupRoot, "*"))
	for _, folder := range folders {
		info, err := os.Lstat(folder)
		if err == nil && info.IsDir() && filepath.Base(folder) != "unified" {
			found = append(found, folder)
		}
	}
	return found
}

// MakeCgroups makes the cgroup under which the kubelet puts every pod of the cluster.
func MakeCgroups(id ID) error { return makeCgroups(id.Cgroup()) }

// MakeNodeCgroups makes the cgroup for the pods of another node of the cluster, below that of the cluster, and returns
// its path.
func MakeNodeCgroups(id ID, node string) (string, error) {
	path := id.Cgroup() + "/" + node
	return path, makeCgroups(path)
}

func makeCgroups(path string) error {
	for _, root := range hierarchies() {
		folder := filepath.Join(root, path)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("making a cgroup: %w", err)
		}
		// A v1 cpuset is empty until somebody fills it, and an empty one takes no process.
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			content, err := os.ReadFile(filepath.Join(filepath.Dir(folder), name))
			if err == nil && filepath.Base(root) == "cpuset" {
				if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
					return fmt.Errorf("filling %s: %w", name, err)
				}
			}
		}
		delegate(root, folder)
	}
	return nil
}

// delegate passes every controller of a cgroup v2 root on; v1 has no such file.
func delegate(root, folder string) {
	controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return
	}
	for _, controller := range strings.Fields(string(controllers)) {
		for _, at := range []string{root, filepath.Dir(folder), folder} {
			// Best effort: the kubelet says which controller it misses.
			_ = os.WriteFile(filepath.Join(at, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
		}
	}
}

// removeCgroups removes the cluster's cgroups, the innermost first. The kernel needs a moment after the last process.
func removeCgroups(id ID) error {
	// On a machine with both generations runc makes cgroups in the unified hierarchy too.
	for _, root := range append(hierarchies(), filepath.Join(cgroupRoot, "unified")) {
		top := filepath.Join(root, id.Cgroup())
		for attempt := 0; ; attempt++ {
			var folders []string
			_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					folders = append(folders, path)
				}
				return nil
			})
			slices.Reverse(folders)
			for _, folder := range folders {
				_ = os.Remove(folder)
			}
			if _, err := os.Stat(top); os.IsNotExist(err) {
				break
			}
			if attempt == 50 {
				return fmt.Errorf("removing the cgroup %s: it still has processes or children", top)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return nil
}
