package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/akv2k8s/akv2k8s/src/broker/client"
	"github.com/akv2k8s/akv2k8s/src/injector"
	"github.com/akv2k8s/akv2k8s/src/trust"
	"github.com/akv2k8s/akv2k8s/src/version"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

var _ injector.Resolver = (*client.Client)(nil)

const usage = `usage: azure-keyvault-env COMMAND

  copy DIR   copy this program into a folder
  trust      print the public certificate authorities that it believes
  version    print the version

As ` + wire.InjectorPath + ` it takes a program and its arguments, and becomes it.
`

// run does a command if the program lies in its own image. Where the webhook put it, every argument is the user's, whatever its name.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == wire.InjectorPath {
		thrifty()
		return become(ctx, args[1:], environ, stderr)
	}
	var err error
	switch {
	case len(args) == 3 && args[1] == "copy":
		err = copyTo(args[2])
	case len(args) == 2 && args[1] == "trust":
		err = trust.Print(stdout, nil, time.Now())
	case len(args) == 2 && args[1] == "version":
		_, err = fmt.Fprintln(stdout, version.String())
	default:
		fmt.Fprint(stderr, usage)
		return 64
	}
	if err != nil {
		fmt.Fprintln(stderr, "azure-keyvault-env:", err)
		return 64
	}
	return 0
}

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
	return nil
}

// copyFile goes piece by piece: a program that is read as a whole is twice in the pod's memory, and costs the time of thousands of page faults.
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

// become runs the injector on this process.
func become(ctx context.Context, args, environ []string, stderr io.Writer) int {
	get := func(name string) string {
		for _, entry := range environ {
			if value, ok := strings.CutPrefix(entry, name+"="); ok {
				return value
			}
		}
		return ""
	}
	return injector.Run(ctx, injector.Config{
		Args: args, Environ: environ, Clock: time.Now, Exec: syscall.Exec, LookPath: lookPath,
		Log: logger(stderr, get(wire.EnvLogLevel), get(wire.EnvLogFormat)),
		Sleep: func(ctx context.Context, d time.Duration) error {
			select {
			case <-time.After(d):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		Resolver: func() (injector.Resolver, error) {
			if get(wire.EnvUseAuthService) == "false" {
				return newDirect(get)
			}
			return client.New(client.Config{CA: get(wire.EnvCA), Broker: get(wire.EnvBroker), Address: get(wire.EnvBrokerAddress), Token: token})
		},
	})
}

// logger never fails: a wrong setting of the log must not keep a program from starting.
func logger(out io.Writer, level, format string) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if level == "debug" || level == "trace" {
		options.Level = slog.LevelDebug
	}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}

// executable asks the kernel whether this user may execute a file (X_OK).
const executable = 1

// lookPath finds a program as the container's runtime would: by path as it is, else in the folders of PATH. What is no file, or may not be executed
// by this user, is passed over; a folder that is no absolute path is meant from the working directory.
func lookPath(program, path string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	for _, folder := range filepath.SplitList(path) {
		candidate := filepath.Join(folder, program)
		if info, err := os.Stat(candidate); err == nil && !info.IsDir() && syscall.Access(candidate, executable) == nil {
			return candidate, nil
		}
	}
	return "", fs.ErrNotExist
}
