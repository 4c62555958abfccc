package filesync

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/injector/atomicdir"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Limits of the path of a file in its directory. A folder whose path has the maximum length has files below it.
const (
	maxDataKey    = 253
	maxPath       = limits.FilePathBytes + 1 + maxDataKey
	maxPathLevels = limits.FilePathLevels + 1
)

// checkAnswer checks the answer as a whole, so that nothing is written if a part of it is wrong. It must have the
// directories of the pod, and no others.
func (s *Syncer) checkAnswer(answer map[string]map[string]wire.FileContent) (
	map[string]map[string]atomicdir.File, error) {
	if len(answer) > len(s.names) {
		return nil, fault.New(fault.Bug, "the answer has directories that the pod does not have; no file was written")
	}
	directories := make(map[string]map[string]atomicdir.File, len(answer))
	for _, name := range s.names {
		contents, ok := answer[name]
		if !ok {
			return nil, fault.New(fault.Bug, "the answer has no directory %q; no file was written", name)
		}
		files := make(map[string]atomicdir.File, len(contents))
		for path, file := range contents {
			if len(path) > maxPath || strings.Count(path, "/") >= maxPathLevels {
				return nil, fault.New(fault.Invalid, "the path %.*q is too long, or has too many levels; "+
					"no file was written", maxShownName, path)
			}
			files[path] = atomicdir.File{Content: file.Content, Mode: fs.FileMode(file.Mode)}
		}
		if err := atomicdir.Check(files); err != nil {
			return nil, err
		}
		directories[name] = files
	}
	return directories, nil
}

// writeDirectories writes all directories and returns the names of those that have changed. The failure of one does not
// stop the others.
func (s *Syncer) writeDirectories(directories map[string]map[string]atomicdir.File) (changed []string, errs error) {
	for _, name := range s.names {
		hasChanged, err := s.writeDirectory(name, directories[name])
		if hasChanged {
			changed = append(changed, name)
		}
		errs = errors.Join(errs, err)
	}
	return changed, errs
}

func (s *Syncer) writeDirectory(name string, files map[string]atomicdir.File) (changed bool, err error) {
	dir := s.open[name]
	if dir == nil {
		path, err := makeDirectory(s.config.Volume, name)
		if err != nil {
			return false, err
		}
		if dir, err = atomicdir.Open(path); err != nil {
			return false, err
		}
		s.open[name] = dir
	}
	changed, err = dir.Write(files)
	if err != nil && !dir.HasReplaced() {
		// The directory can have been removed. The next attempt opens it again.
		delete(s.open, name)
		_ = dir.Close()
	}
	return changed, err
}

// removeReplaced removes the files that others have replaced, with their old values, when no program reads them any
// more.
func (s *Syncer) removeReplaced(ctx context.Context) {
	isWaiting := true
	for _, name := range s.names {
		dir := s.open[name]
		if dir == nil || !dir.HasReplaced() {
			continue
		}
		if isWaiting && s.config.Sleep(ctx, atomicdir.GracePeriod) != nil {
			return // the next start removes them
		}
		isWaiting = false
		if err := dir.Clean(); err != nil {
			s.warn("removing the old values failed, and is retried with the next change", logkey.Error, err.Error())
		}
	}
}
