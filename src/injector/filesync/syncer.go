package filesync

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/akv2k8s/akv2k8s/src/broker/client"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/injector/atomicdir"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

var _ Source = (*client.Client)(nil)

// Source returns the files of the pod.
type Source interface {
	// Files returns the files, or that they are those of etag, which can be empty. Errors are of package fault.
	Files(ctx context.Context, etag string) (client.FilesAnswer, error)
}

// Config configures a Syncer. Every field is required.
type Config struct {
	// Volume is the path of the volume that has the directories.
	Volume string
	Files  wire.PodFiles
	Source Source
	Log    *slog.Logger
	Clock  func() time.Time
	// Sleep waits for d. If the context ends first, it returns the context's error. Several goroutines call it.
	Sleep func(ctx context.Context, d time.Duration) error
	// Jitter returns a random duration from zero to most.
	Jitter func(most time.Duration) time.Duration
	// ReleaseMemory returns unused memory to the operating system. It is called before long waits, by several
	// goroutines.
	ReleaseMemory func()
}

// Syncer keeps the files of a pod fresh. It is not safe for concurrent use.
type Syncer struct {
	config Config
	// names are the directories of the pod, and open those that were written.
	names []string
	open  map[string]*atomicdir.Dir
	// etag is that of the files in the directories; empty if they can differ from every answer.
	etag string
	// refreshAfter is that of the last answer; 0 for never.
	refreshAfter time.Duration
	// nextMaxWait is the maximum of the next wait after a failure. It doubles each time.
	nextMaxWait time.Duration
	warnings    warningLimiter
	// notifier is nil if the pod has no on-change URL.
	notifier *notifier
}

// New returns a Syncer for checked PodFiles. Nothing is read or written yet.
func New(c Config) (*Syncer, error) {
	if err := fault.RequireFields("filesync.New", map[string]bool{
		"Volume": c.Volume != "", "Files": len(c.Files.Directories) > 0, "Source": c.Source != nil, "Log": c.Log != nil,
		"Clock": c.Clock != nil, "Sleep": c.Sleep != nil, "Jitter": c.Jitter != nil,
		"ReleaseMemory": c.ReleaseMemory != nil,
	}); err != nil {
		return nil, err
	}
	s := &Syncer{config: c, names: slices.Sorted(maps.Keys(c.Files.Directories)), open: map[string]*atomicdir.Dir{},
		nextMaxWait: firstMaxWait, refreshAfter: limits.FilesRetryWait, warnings: warningLimiter{clock: c.Clock}}
	if c.Files.OnChange != "" {
		s.notifier = newNotifier(c)
	}
	s.config.Files = wire.PodFiles{} // the references are not needed, and rest in memory otherwise
	return s, nil
}

// Sync requests the files once and writes those that have changed. After an error, each directory has its old files or
// all of its new ones, and the next Sync repeats what has failed. Errors are of package fault.
func (s *Syncer) Sync(ctx context.Context) error {
	answer, err := s.requestFiles(ctx)
	if err != nil {
		return err
	}
	s.refreshAfter = answer.RefreshAfter
	if answer.IsUnchanged {
		return nil
	}
	directories, err := s.checkAnswer(answer.Directories)
	if err != nil {
		return err
	}
	s.etag = ""
	notify, err := s.prepareCalls()
	if err != nil {
		return err
	}
	changed, err := s.writeDirectories(directories)
	if err == nil && !IsComplete(s.config.Volume) {
		err = markComplete(s.config.Volume)
	}
	if err == nil {
		s.etag = answer.ETag
	}
	if len(changed) > 0 {
		s.config.Log.Info("new files were written", logkey.Directories, changed)
	}
	notify(ctx, len(changed) > 0)
	s.removeReplaced(ctx)
	return err
}

func (s *Syncer) requestFiles(ctx context.Context) (client.FilesAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, limits.FilesRequestTime)
	defer cancel()
	return s.config.Source.Files(ctx, s.etag)
}

// prepareCalls returns the function that calls the pod's URL after a change. Nothing is called for the first files,
// which the program has not read yet.
func (s *Syncer) prepareCalls() (notify func(ctx context.Context, hasChanged bool), err error) {
	n := s.notifier
	if n == nil || !IsComplete(s.config.Volume) {
		return func(context.Context, bool) {}, nil
	}
	wasPending, err := n.recordNextChange()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, hasChanged bool) {
		if hasChanged || wasPending {
			n.startCalls(ctx)
			return
		}
		n.removeRecord()
	}, nil
}
