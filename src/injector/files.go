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

// copyTo puts the program where every container of the pod can run it. It appears at once and whole.
func copyTo(folder string) error {
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
	return link(to, filepath.Join(folder, filepath.Base(wire.StartedPath)))
}

// link gives the program a second name, also where an init container that is restarted has done so before.
func link(program, name string) error {
	err := os.Symlink(filepath.Base(program), name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return fmt.Errorf("naming the program %s: %w", filepath.Base(name), err)
}

// copyFile goes piece by piece: a program that is read as a whole is twice in the pod's memory, and costs the time of
// thousands of page faults.
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

// executable asks the kernel whether this user may execute a file (X_OK).
const executable = 1

// lookPath finds a program as the container's runtime would: by path as it is, else in the folders of PATH. What is no
// file, or may not be executed by this user, is passed over; a folder that is no absolute path is meant from the
// working directory.
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
			syscall.Access(candidate, executable) == nil {
			return candidate, nil
		}
	}
	return "", fs.ErrNotExist
}
