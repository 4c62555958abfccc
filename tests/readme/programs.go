package readme

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Programs makes the stand-ins that every test has: az, which asks the test, and sleep, which never waits longer than
// a second.
func Programs(ctx context.Context, root, folder string) error {
	build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(folder, "az"), "./tests/readme/az")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the stand-in of az: %w: %s", err, out)
	}
	return Script(folder, "sleep", "exec /bin/sleep 1")
}

// Script makes a program of a script for sh.
func Script(folder, name, script string) error {
	return os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755)
}
