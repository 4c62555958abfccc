package injector

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// copyProgramTo copies this program into the folder from which every container of the pod runs it. The copy gets its
// name only when it is complete.
func copyProgramTo(folder string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the program: %w", err)
	}
	to := filepath.Join(folder, filepath.Base(wire.InjectorPath))
	partial := to + ".partial"
	if err := copyFile(self, partial); err != nil {
		return fmt.Errorf("copying the program: %w", err)
	}
	if err := os.Chmod(partial, 0o755); err != nil { // not subject to the umask
		return fmt.Errorf("making the copy executable: %w", err)
	}
	if err := os.Rename(partial, to); err != nil {
		return fmt.Errorf("copying the program: %w", err)
	}
	return linkProgram(to, filepath.Join(folder, filepath.Base(wire.HasStartedPath)))
}

// linkProgram creates the second name of the program. An existing link is not an error: a restarted init container
// finds the link of its first run.
func linkProgram(program, name string) error {
	err := os.Symlink(filepath.Base(program), name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return fmt.Errorf("linking the program as %s: %w", filepath.Base(name), err)
}

// copyFile copies in pieces. Reading the whole program would hold it twice in the pod's memory and cost thousands of
// page faults.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// accessExecute is X_OK: the kernel checks whether this user can execute a file.
const accessExecute = 1

// lookPath finds a program as the container runtime does. A name with a slash is returned unchanged; any other name is
// searched in the folders of path. Folders, and files that this user can't execute, are skipped. A relative folder is
// relative to the working directory.
func lookPath(program, path string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	for _, folder := range filepath.SplitList(path) {
		candidate := filepath.Join(folder, program)
		if info, err := os.Stat(candidate); err == nil && !info.IsDir() &&
			syscall.Access(candidate, accessExecute) == nil {
			return candidate, nil
		}
	}
	return "", fs.ErrNotExist
}
