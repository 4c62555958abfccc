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
	"github.com/akv2k8s/akv2k8s/src/logkey"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Resolver resolves references, keyed by variable. It returns the value of every variable, or an error of package
// fault.
type Resolver interface {
	Resolve(ctx context.Context, references map[string]string) (map[string][]byte, error)
}

// Config is the configuration of Run. Every field is required.
type Config struct {
	// Args are the program and its arguments.
	Args []string
	// Environ is the environment, as NAME=value.
	Environ []string
	// NewResolver creates the resolver. It is called only if there are references.
	NewResolver func() (Resolver, error)
	// LookPath finds a program in the folders of path.
	LookPath func(program, path string) (string, error)
	// Exec replaces the process. It returns only on failure.
	Exec func(path string, args, environ []string) error
	// Sleep waits for d. If the context ends first, it returns the context's error.
	Sleep func(ctx context.Context, d time.Duration) error
	// Jitter returns a random duration from zero to most.
	Jitter func(most time.Duration) time.Duration
	Clock  func() time.Time
	Log    *slog.Logger
	// IsAdditional says that this is not the main process of the container, but that of a probe, a hook or kubectl
	// exec. Its arguments are not those of the container, and the termination message is that of the main process.
	IsAdditional bool
	// WriteTerminationMessage writes the text of a failure into the termination message.
	WriteTerminationMessage func(message string)
}

// Exit codes that a shell uses, too.
const (
	exitNotFound      = 127
	exitNotExecutable = 126
)

// Run replaces the process with the program. It returns, with an exit code, only on failure; one line of the log has
// the reason.
func Run(ctx context.Context, c Config) int {
	if len(c.Args) == 0 {
		return c.reportFailure(fault.New(fault.Invalid,
			"there is no program to start; set the container's command, or write a command after the injector: "+
				"kubectl exec POD -- %s printenv", wire.InjectorPath))
	}
	references, err := References(c.Environ)
	if err != nil {
		return c.reportFailure(err)
	}
	values := map[string][]byte{}
	if len(references) > 0 {
		if values, err = c.resolveReferences(ctx, references, containerMaxWait); err != nil {
			return c.reportFailure(err)
		}
	}
	environ, err := ProgramEnvironment(c.Environ, values)
	if err != nil {
		return c.reportFailure(err)
	}
	args := c.Args
	if !c.IsAdditional {
		if args, err = expandArgs(c.Args, c.Environ, environ); err != nil {
			return c.reportFailure(err)
		}
	}
	path, err := c.LookPath(args[0], valueOf(environ, "PATH"))
	if err != nil {
		return c.reportStartFailure(err, args, environ)
	}
	if ctx.Err() != nil {
		return c.reportFailure(fault.New(fault.Unavailable, "stopped before the program was started"))
	}
	c.Log.Debug("starting the program", "program", c.Args[0], "variables", len(values))
	return c.reportStartFailure(c.Exec(path, args, environ), args, environ)
}

// reportFailure writes an error to the log and to the termination message, and returns the exit code.
func (c Config) reportFailure(err error) int {
	kind := fault.KindOf(err)
	c.Log.Error(err.Error(), logkey.Reason, kind.Reason())
	c.explainTermination(kind.Reason() + ": " + err.Error())
	return kind.ExitCode()
}

// explainTermination writes the termination message of the container, if this is its main process.
func (c Config) explainTermination(message string) {
	if !c.IsAdditional {
		c.WriteTerminationMessage(message)
	}
}

// reportStartFailure writes why the program could not be started, and returns the exit code. The message has the name
// from the container's command before expansion: an expanded name can be a secret value.
func (c Config) reportStartFailure(err error, args, environ []string) int {
	reason, code := err.Error(), exitNotExecutable
	switch {
	case errors.Is(err, fs.ErrNotExist):
		reason, code = "no such file, or its interpreter is missing; correct the container's command", exitNotFound
	case errors.Is(err, syscall.E2BIG):
		reason = explainTooLarge(args, environ, os.Getpagesize())
	case errors.Is(err, fs.ErrPermission):
		reason += "; it must be a file that the container's user may execute, on a file system mounted without noexec"
	case errors.Is(err, syscall.ENOEXEC):
		reason += "; it is for another processor architecture, or a script without #! in its first line"
	}
	message := "starting the program " + c.Args[0] + ": " + reason
	c.Log.Error(message)
	c.explainTermination(message)
	return code
}

// References are the variables whose value is a reference. A value that is meant as a reference but is not valid is
// fault.Invalid.
func References(environ []string) (map[string]string, error) {
	references := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !envref.IsIntendedReference(value) || name == wire.EnvReferences || name == wire.EnvImageReferences {
			continue
		}
		if _, err := envref.Parse(value); err != nil {
			return nil, &fault.Error{Kind: fault.Invalid, Operation: "variable " + name, Cause: err}
		}
		references[name] = value
	}
	return references, nil
}

// ProgramEnvironment is the environment of the program: values replace references, and the variables that the webhook
// added are removed.
func ProgramEnvironment(environ []string, values map[string][]byte) ([]string, error) {
	removed := strings.Split(valueOf(environ, wire.EnvAddedVariables), ",")
	var out []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if slices.Contains(removed, name) {
			continue
		}
		if value, ok := values[name]; ok {
			if bytes.IndexByte(value, 0) >= 0 {
				return nil, fault.New(fault.Malformed,
					"variable %s: the value holds a NUL byte, which an environment variable can't contain", name)
			}
			entry = name + "=" + string(value)
		}
		out = append(out, entry)
	}
	return expandVariables(out, readExpansion(environ).Variables)
}

func valueOf(environ []string, name string) string {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}
