package injector

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/akv2k8s/akv2k8s/src/broker/client"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/version"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

var (
	_ Resolver = (*client.Client)(nil)
	_ Checker  = (*client.Client)(nil)
)

// Program is the injector as a process. It can use the auth service; its main package links in what else it can do.
type Program struct {
	Args, Environ  []string
	Stdout, Stderr io.Writer
	// NewDirectResolver creates the resolver that reads resources and vaults with the pod's own credentials. get reads
	// the environment. Nil in a program without that resolver.
	NewDirectResolver func(get func(string) string) (Resolver, error)
	// NewDirectFileSource creates the source of files that reads resources and vaults with the pod's own credentials.
	// Nil in a program without that source.
	NewDirectFileSource func(get func(string) string) (FileSource, error)
	// PrintTrustedCAs prints the public certificate authorities that the program trusts. Nil in a program that trusts
	// only the auth service.
	PrintTrustedCAs func(io.Writer) error
	// Exec replaces the process with another program; nil means syscall.Exec.
	Exec func(path string, argv, environ []string) error
}

const usage = `usage: azure-keyvault-env COMMAND

  copy DIR              copy this program into a folder, and wait until the pod's references can be resolved
  write-env-files DIR   write the values of the pod's references into env files for the kubelet
  check-env-file        check whether the kubelet has read such a file
  write-files DIR       write the pod's files into a folder
  sync-files DIR        write the pod's files into a folder, and keep them fresh
  check-files DIR       check whether the pod's files were written
  version               print the version
`

const usageTrust = "  trust                 print the public certificate authorities that the program trusts\n"

const usageInPod = `
Run as ` + wire.InjectorPath + `, it takes a program and its arguments, and replaces itself with it.
Run as ` + wire.HasStartedPath + `, it checks whether the container's program has started, and then
runs a command if there is one.
`

// exitUsage is the exit code of an unknown or failed command.
const exitUsage = 64

// Run runs the program and returns its exit code. Commands exist only in the program's own image: under the path in
// injected pods, every argument is the user's, whatever its name.
func (p Program) Run(ctx context.Context) int {
	args := p.Args
	if len(args) > 0 && (args[0] == wire.InjectorPath || args[0] == wire.HasStartedPath) {
		limitRuntimeMemory()
		if args[0] == wire.InjectorPath {
			p.execDirectInjector()
			p.Environ = RemoveForeignReserved(p.Environ)
			c := p.injectorConfig()
			c.IsAdditional = mountedProcfs.isAdditional(os.Getpid(), os.Getppid())
			return Run(ctx, c)
		}
		return p.runStartedCheck(args[1:])
	}
	if len(args) < 2 {
		return p.showUsage()
	}
	return p.runCommand(ctx, args[1], args[2:])
}

// runCommand runs a command of the program's own image.
func (p Program) runCommand(ctx context.Context, name string, args []string) int {
	type command struct {
		args int
		run  func() int
	}
	commands := map[string]command{
		"copy":            {1, func() int { return p.runInitContainer(ctx, args[0]) }},
		"write-env-files": {1, func() int { return p.runEnvFileContainer(ctx, args[0]) }},
		"check-env-file":  {0, p.runEnvFileCheck},
		"write-files":     {1, func() int { return p.runFilesInitContainer(ctx, args[0]) }},
		"sync-files":      {1, func() int { return p.runFilesSidecar(ctx, args[0]) }},
		"check-files":     {1, func() int { return p.runFilesCheck(args[0]) }},
		"version": {0, func() int {
			_, err := fmt.Fprintln(p.Stdout, version.String())
			return p.reportCommandError(err)
		}},
	}
	if p.PrintTrustedCAs != nil {
		commands["trust"] = command{0, func() int { return p.reportCommandError(p.PrintTrustedCAs(p.Stdout)) }}
	}
	found, ok := commands[name]
	if !ok || len(args) != found.args {
		return p.showUsage()
	}
	return found.run()
}

func (p Program) showUsage() int {
	text := usage
	if p.PrintTrustedCAs != nil {
		text += usageTrust
	}
	fmt.Fprint(p.Stderr, text+usageInPod)
	return exitUsage
}

// execDirectInjector replaces this process with the injector that reads vaults itself, if the container needs that one
// and this is the other. It returns if it does not, or if the pod has no such file, as with an init container.
func (p Program) execDirectInjector() {
	if p.NewDirectResolver == nil && valueOf(RemoveForeignReserved(p.Environ), wire.EnvUseAuthService) == "false" {
		_ = p.replaceProcess(wire.DirectInjectorPath, p.Args, p.Environ) // newResolver says what to do if this fails
	}
}

func (p Program) replaceProcess(path string, argv, environ []string) error {
	if p.Exec != nil {
		return p.Exec(path, argv, environ)
	}
	return syscall.Exec(path, argv, environ)
}

// RemoveForeignReserved is the environment without the reserved variables that the webhook did not write. An image, or
// a ConfigMap that is newer than the pod, can set them, and the injector must not obey them.
func RemoveForeignReserved(environ []string) []string {
	added := strings.Split(valueOf(environ, wire.EnvAddedVariables), ",")
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(wire.ReservedVariables(), name) && !slices.Contains(added, name)
	})
}

// reportCommandError prints the error of a command, if there is one, and returns the exit code.
func (p Program) reportCommandError(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(p.Stderr, "azure-keyvault-env:", err)
	return exitUsage
}

// runInitContainer is the work of the init container: it copies the program into the pod, and at the same time checks
// whether the references of the containers can be resolved.
func (p Program) runInitContainer(ctx context.Context, folder string) int {
	limitRuntimeMemory()
	copied := make(chan error, 1)
	go func() { copied <- copyProgramTo(folder) }()
	c := p.injectorConfig()
	replica, err := c.checkReferences(ctx, func() (Checker, error) { return p.newAuthServiceClient("") })
	if failure := <-copied; failure != nil {
		c.WriteTerminationMessage(failure.Error())
		return p.reportCommandError(failure)
	}
	if err != nil {
		return c.reportFailure(err)
	}
	writeReplica(filepath.Join(folder, filepath.Base(wire.ReplicaPath)), replica)
	return 0
}

// injectorConfig is the Config of an injector that replaces this process.
func (p Program) injectorConfig() Config {
	get := func(name string) string { return valueOf(p.Environ, name) }
	c := Config{
		Environ: p.Environ, Clock: time.Now, Exec: p.replaceProcess, LookPath: lookPath,
		Jitter: randomJitter, Sleep: sleepContext,
		Log:                     newLogger(p.Stderr, get(wire.EnvLogLevel), get(wire.EnvLogFormat)),
		NewResolver:             func() (Resolver, error) { return p.newResolver(get) },
		WriteTerminationMessage: func(message string) { writeTerminationMessage(p.Environ, message) },
	}
	if len(p.Args) > 0 {
		c.Args = p.Args[1:]
	}
	return c
}

func sleepContext(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func randomJitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return rand.N(most)
}

// newAuthServiceClient creates a client of the auth service that the webhook named. The client tries replica first; it
// can be empty.
func (p Program) newAuthServiceClient(replica string) (*client.Client, error) {
	get := func(name string) string { return valueOf(p.Environ, name) }
	return client.New(client.Config{CA: get(wire.EnvCA), Broker: get(wire.EnvBroker),
		ServiceAddress: get(wire.EnvBrokerAddress), ReplicaAddress: replica, ReadToken: ReadToken})
}

// newResolver creates the resolver that the webhook chose for this container.
func (p Program) newResolver(get func(string) string) (Resolver, error) {
	if get(wire.EnvUseAuthService) != "false" {
		if err := checkDisableSetting(get(wire.EnvDisableAuthService)); err != nil {
			return nil, err
		}
		return p.newAuthServiceClient(readReplica(wire.ReplicaPath, time.Now()))
	}
	if p.NewDirectResolver == nil {
		return nil, otherInjectorError()
	}
	return p.NewDirectResolver(get)
}

// otherInjectorError is the error of a program that can't read vaults itself, but has to.
func otherInjectorError() error {
	return fault.New(fault.Invalid,
		"%s is false, but the injector in this pod can only use the auth service; recreate the pod so that the "+
			"env-injector adds the other one",
		wire.EnvUseAuthService)
}

// checkDisableSetting rejects a setting that the webhook did not see: the container would read with another identity
// than its owner chose.
func checkDisableSetting(text string) error {
	if disabled, err := strconv.ParseBool(text); text == "" || (err == nil && !disabled) {
		return nil
	}
	return fault.New(fault.Invalid,
		"%s comes from the image, or from a ConfigMap or Secret that was missing when the pod was created, where the "+
			"env-injector does not read it; set it in the container's env and recreate the pod",
		wire.EnvDisableAuthService)
}

// ReadToken reads the pod's token for the auth service or the API server. The kubelet renews it, so callers read it
// before each request.
func ReadToken() (string, error) {
	content, err := os.ReadFile(wire.TokenPath)
	return strings.TrimSpace(string(content)), err
}

// newLogger never fails: an invalid log setting must not keep a program from starting.
func newLogger(out io.Writer, level, format string) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if level == "debug" || level == "trace" {
		options.Level = slog.LevelDebug
	}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}

const (
	// gcPercent is the growth of the heap, in percent, that starts a garbage collection.
	gcPercent = 30
	// maxProcs is the maximum of GOMAXPROCS; the runtime keeps memory for each processor.
	maxProcs = 2
)

// limitRuntimeMemory keeps the process small. It is short-lived and runs within the memory limit of the container,
// which can be small even on a large machine. The settings are not in the environment, because that is the program's.
func limitRuntimeMemory() {
	debug.SetGCPercent(gcPercent)
	runtime.GOMAXPROCS(min(runtime.GOMAXPROCS(0), maxProcs))
}
