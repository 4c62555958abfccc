package injector

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/akv2k8s/akv2k8s/src/injector/filesync"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// FileSource returns the files of a pod: the auth service, or a program that reads vaults itself.
type FileSource = filesync.Source

// runFilesInitContainer is the work of an init container that writes the pod's files once.
func (p Program) runFilesInitContainer(ctx context.Context, volume string) int {
	limitRuntimeMemory()
	c := p.injectorConfig()
	syncer, err := p.newSyncer(c, volume)
	if err == nil {
		err = c.writeFirstFiles(ctx, syncer)
	}
	if err != nil {
		return c.reportFailure(err)
	}
	return 0
}

// runFilesSidecar is the work of the sidecar that writes the pod's files and keeps them fresh. It ends with 0 when it
// is stopped. After a restart it finds complete files, and a failure does not end it: the program uses these files.
func (p Program) runFilesSidecar(ctx context.Context, volume string) int {
	limitRuntimeMemory()
	runtime.GOMAXPROCS(1)
	c := p.injectorConfig()
	syncer, err := p.newSyncer(c, volume)
	if err == nil && filesync.IsComplete(volume) {
		syncer.Resume(ctx)
		return 0
	}
	if err == nil {
		err = c.writeFirstFiles(ctx, syncer)
	}
	switch {
	case ctx.Err() != nil:
		return 0
	case err != nil:
		return c.reportFailure(err)
	}
	syncer.KeepFresh(ctx)
	return 0
}

// runFilesCheck is the startup probe of that sidecar.
func (p Program) runFilesCheck(volume string) int {
	if filesync.IsComplete(volume) {
		return 0
	}
	return p.reportCommandError(errors.New("the pod's files were not written yet; see the log of the container " +
		wire.FilesContainer))
}

// writeFirstFiles writes the files for the first time, with retries.
func (c Config) writeFirstFiles(ctx context.Context, syncer *filesync.Syncer) error {
	policy, err := readRetryPolicy(c.Environ)
	if err != nil {
		return err
	}
	policy.maxWait = initContainerMaxWait
	return c.retryAttempts(ctx, policy, syncer.Sync)
}

// newSyncer creates the Syncer for the files that the webhook recorded.
func (p Program) newSyncer(c Config, volume string) (*filesync.Syncer, error) {
	files, err := filesync.ParsePodFiles(valueOf(p.Environ, wire.EnvFiles))
	if err != nil {
		return nil, err
	}
	source, err := p.newFileSource()
	if err != nil {
		return nil, err
	}
	return filesync.New(filesync.Config{Volume: volume, Files: files, Source: source, Log: c.Log, Clock: time.Now,
		Sleep: c.Sleep, Jitter: c.Jitter, ReleaseMemory: releaseMemory})
}

// releaseMemory returns the memory of a request to the operating system, for the long time until the next one. The
// second collection empties the pools of the standard library.
func releaseMemory() {
	runtime.GC()
	debug.FreeOSMemory()
}

// newFileSource creates the source that the webhook chose for this pod.
func (p Program) newFileSource() (FileSource, error) {
	get := func(name string) string { return valueOf(p.Environ, name) }
	switch {
	case get(wire.EnvUseAuthService) != "false":
		return p.newAuthServiceClient("")
	case p.NewDirectFileSource == nil:
		return nil, otherInjectorError()
	}
	return p.NewDirectFileSource(get)
}
