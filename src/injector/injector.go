package injector

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Resolver gives the values of all references by variable, or an error of package fault.
type Resolver interface {
	Resolve(ctx context.Context, references map[string]string) (map[string][]byte, error)
}

// Config is what an Injector works with; every field is required.
type Config struct {
	// Args is the program and its arguments.
	Args []string
	// Environ is the environment, as NAME=value.
	Environ []string
	// Resolver of the references; it is made only if there are any.
	Resolver func() (Resolver, error)
	// LookPath finds a program in the directories of a PATH.
	LookPath func(program, path string) (string, error)
	// Exec replaces the process; it returns only if that failed.
	Exec func(path string, args, environ []string) error
	// Sleep waits, or returns the context's error.
	Sleep func(ctx context.Context, d time.Duration) error
	// Jitter gives a random time from zero up to that one.
	Jitter func(most time.Duration) time.Duration
	Clock  func() time.Time
	Log    *slog.Logger
	// Terminated takes the last line of a failure, for the termination message.
	Terminated func(message string)
}

// Exit codes of what a shell would say as well.
const (
	exitNotFound      = 127
	exitNotExecutable = 126
)

// Run becomes the program. It returns an exit code only if that failed; the log has said why, in one line.
func Run(ctx context.Context, c Config) int {
	if len(c.Args) == 0 {
		return c.fail(fault.New(fault.Invalid, "there is no program to start; set the container's command"))
	}
	references, err := References(c.Environ)
	if err != nil {
		return c.fail(err)
	}
	values := map[string][]byte{}
	if len(references) > 0 {
		if values, err = c.resolve(ctx, references); err != nil {
			return c.fail(err)
		}
	}
	environ, err := Environment(c.Environ, values)
	if err != nil {
		return c.fail(err)
	}
	args, err := expandArgs(c.Args, c.Environ, environ)
	if err != nil {
		return c.fail(err)
	}
	path, err := c.LookPath(args[0], valueOf(environ, "PATH"))
	if err != nil {
		return c.unstarted(err, args, environ)
	}
	if ctx.Err() != nil {
		return c.fail(fault.New(fault.Unavailable, "stopped before the program was started"))
	}
	c.Log.Debug("starting the program", "program", c.Args[0], "variables", len(values))
	return c.unstarted(c.Exec(path, args, environ), args, environ)
}

// fail says why, in the log and in the termination message, and gives the exit code.
func (c Config) fail(err error) int {
	kind := fault.KindOf(err)
	c.Log.Error(err.Error(), "reason", kind.Reason())
	c.Terminated(kind.Reason() + ": " + err.Error())
	return kind.ExitCode()
}

// unstarted explains why the program could not be started. It is named as the container's command has it: the name that
// comes of $(NAME) is a value.
func (c Config) unstarted(err error, args, environ []string) int {
	reason, code := err.Error(), exitNotExecutable
	switch {
	case errors.Is(err, fs.ErrNotExist):
		reason, code = "no such file, or its interpreter is missing; correct the container's command", exitNotFound
	case errors.Is(err, syscall.E2BIG):
		reason = tooLarge(args, environ, os.Getpagesize())
	case errors.Is(err, fs.ErrPermission):
		reason += "; it has to be a file that the container's user may execute, on a file system that allows it"
	case errors.Is(err, syscall.ENOEXEC):
		reason += "; it is for another processor, or a script without #! in its first line"
	}
	message := "starting the program " + c.Args[0] + ": " + reason
	c.Log.Error(message)
	c.Terminated(message)
	return code
}

// References are the variables that hold one. A value that is meant as a reference but is none is fault.Invalid.
func References(environ []string) (map[string]string, error) {
	references := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !envref.Meant(value) || name == wire.EnvReferences || name == wire.EnvImageReferences {
			continue
		}
		if _, err := envref.Parse(value); err != nil {
			return nil, &fault.Error{Kind: fault.Invalid, Doing: "variable " + name, Cause: err}
		}
		references[name] = value
	}
	return references, nil
}

// Environment is the program's: values instead of references, and without what the webhook added.
func Environment(environ []string, values map[string][]byte) ([]string, error) {
	removed := strings.Split(valueOf(environ, wire.EnvAdded), ",")
	var out []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if slices.Contains(removed, name) {
			continue
		}
		if value, ok := values[name]; ok {
			if bytes.IndexByte(value, 0) >= 0 {
				return nil, fault.New(fault.Malformed,
					"variable %s: the value holds a NUL byte, which no environment variable can", name)
			}
			entry = name + "=" + string(value)
		}
		out = append(out, entry)
	}
	return expandVariables(out, expansion(environ).Env)
}

func valueOf(environ []string, name string) string {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}
