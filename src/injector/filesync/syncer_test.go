package filesync

import (
	"context"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

func TestFilesAreWrittenOnceAndAgainWhenTheyChange(t *testing.T) {
	f := newFixture(t)
	assert.False(t, IsComplete(f.volume))
	require.NoError(t, f.syncer.Sync(t.Context()))
	assert.True(t, IsComplete(f.volume))
	assert.Equal(t, map[string]string{"tls.crt": canary + " certificate 1", "sub/tls.key": canary + " key 1"}, f.read("tls"))
	assert.Equal(t, map[string]string{"password": canary + " password 1"}, f.read("app"))
	info, err := os.Stat(filepath.Join(f.volume, "tls"))
	require.NoError(t, err)
	assert.Equal(t, fs.ModeDir|0o755, info.Mode())
	info, err = os.Stat(filepath.Join(f.volume, "tls", "sub", "tls.key"))
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o440), info.Mode())

	before, err := os.Readlink(filepath.Join(f.volume, "tls", "..data"))
	require.NoError(t, err)
	require.NoError(t, f.syncer.Sync(t.Context()))
	etags, answers := f.broker.requests()
	assert.Equal(t, []int{http.StatusOK, http.StatusNotModified}, answers)
	assert.Empty(t, etags[0])
	assert.NotEmpty(t, etags[1])

	f.broker.set("app", map[string]string{"password": canary + " password 2"})
	require.NoError(t, f.syncer.Sync(t.Context()))
	assert.Equal(t, canary+" password 2", f.read("app")["password"])
	after, err := os.Readlink(filepath.Join(f.volume, "tls", "..data"))
	require.NoError(t, err)
	assert.Equal(t, before, after, "a directory without a change is not written")
	assert.Contains(t, f.log.String(), "directories=[app]")
	assert.Zero(t, f.countWarnings())
}

func TestAFolderLosesAndGetsEntries(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, f.syncer.Sync(t.Context()))
	for _, contents := range []map[string]string{{"tls.crt": "a"}, {"new/tls.key": "b", "tls.crt": "a"}, {}, {"tls.crt/below": "c"}} {
		f.broker.set("tls", contents)
		require.NoError(t, f.syncer.Sync(t.Context()))
		assert.Equal(t, contents, f.read("tls"))
	}
}

func TestOldValuesAreRemovedAfterAChange(t *testing.T) {
	f := newFixture(t)
	f.config.Sleep = sleepReally
	f.restart()
	require.NoError(t, f.syncer.Sync(t.Context()))
	f.broker.set("app", map[string]string{"password": "2"})
	f.broker.set("tls", map[string]string{"tls.crt": "2"})
	started := time.Now()
	require.NoError(t, f.syncer.Sync(t.Context()))
	assert.GreaterOrEqual(t, time.Since(started), time.Second, "programs can still read the old files")
	assert.Less(t, time.Since(started), 1900*time.Millisecond, "one wait for all directories")
	assert.False(t, f.occurs(canary))
}

func TestTheTokenIsReadForEachRequest(t *testing.T) {
	f := newFixture(t)
	for range 3 {
		require.NoError(t, f.syncer.Sync(t.Context()))
		f.broker.Lock()
		f.broker.token += "+"
		f.broker.Unlock()
	}
}

// TestAnAnswerIsWrittenAsAWholeOrNotAtAll has answers with one correct directory, which is not written either.
func TestAnAnswerIsWrittenAsAWholeOrNotAtAll(t *testing.T) {
	deep := strings.Repeat("d/", limits.FilePathLevels+1) + "f"
	cases := map[string]func(all map[string]map[string]wire.FileContent){
		"a directory that the pod does not have": func(all map[string]map[string]wire.FileContent) { all["other"] = all["app"] },
		"a directory is missing":                 func(all map[string]map[string]wire.FileContent) { delete(all, "tls") },
		"one directory in place of another": func(all map[string]map[string]wire.FileContent) {
			all["../tls"] = all["tls"]
			delete(all, "tls")
		},
		"a mode with more than permissions": func(all map[string]map[string]wire.FileContent) {
			all["tls"]["x"] = wire.FileContent{Mode: 0o4755}
		},
		"a file that is a folder, too": func(all map[string]map[string]wire.FileContent) { all["tls"]["sub"] = wire.FileContent{} },
	}
	for _, path := range []string{"", ".", "..", "../x", "/etc/passwd", "a/../../x", "a//b", "a/./b", "a/", "..data", "..data/x", "a\x00b", deep,
		strings.Repeat("p", maxPath+1)} {
		cases["the path "+path[:min(len(path), 20)]] = func(all map[string]map[string]wire.FileContent) { all["tls"][path] = wire.FileContent{Mode: 0o400} }
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			spoil(f.broker.directories)
			err := f.syncer.Sync(t.Context())
			assert.Contains(t, []fault.Kind{fault.Bug, fault.Invalid}, fault.KindOf(err), "%v", err)
			entries, readErr := os.ReadDir(f.volume)
			require.NoError(t, readErr)
			assert.Empty(t, entries)
		})
	}
	f := newFixture(t)
	f.broker.set("tls", map[string]string{strings.Repeat("d/", limits.FilePathLevels) + "f": "deep", strings.Repeat(strings.Repeat("p", 200)+"/", 5) + "f": "long"})
	assert.NoError(t, f.syncer.Sync(t.Context()))
	assert.Len(t, f.read("tls"), 2)
}

func TestWhatIsInThePlaceOfADirectoryIsNotFollowed(t *testing.T) {
	for name, put := range map[string]func(path, elsewhere string) error{
		"a file":          func(path, _ string) error { return os.WriteFile(path, nil, 0o600) },
		"a link":          func(path, elsewhere string) error { return os.Symlink(elsewhere, path) },
		"a link upwards":  func(path, _ string) error { return os.Symlink("..", path) },
		"a named pipe":    func(path, _ string) error { return syscall.Mkfifo(path, 0o600) },
		"a dangling link": func(path, _ string) error { return os.Symlink("nowhere", path) },
	} {
		t.Run(name, func(t *testing.T) {
			f, elsewhere := newFixture(t), memoryDir(t)
			require.NoError(t, put(filepath.Join(f.volume, "tls"), elsewhere))
			err := f.syncer.Sync(t.Context())
			assert.Equal(t, fault.Invalid, fault.KindOf(err))
			assert.ErrorContains(t, err, "tls is not a directory")
			entries, err := os.ReadDir(elsewhere)
			require.NoError(t, err)
			assert.Empty(t, entries)
			assert.Len(t, f.read("app"), 1, "the other directory is written")
			assert.False(t, IsComplete(f.volume))

			require.NoError(t, os.Remove(filepath.Join(f.volume, "tls")))
			require.NoError(t, f.syncer.Sync(t.Context()), "it is tried again without the ETag")
			assert.Len(t, f.read("tls"), 2)
			assert.True(t, IsComplete(f.volume))
		})
	}
	f := newFixture(t)
	f.config.Volume = filepath.Join(f.volume, "missing")
	f.restart()
	assert.Equal(t, fault.Invalid, fault.KindOf(f.syncer.Sync(t.Context())))
}

func TestTheGroupOfAVolumeStaysThatOfItsFiles(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, os.Chmod(f.volume, 0o2777|fs.ModeSetgid))
	info, err := os.Stat(f.volume)
	require.NoError(t, err)
	if info.Mode()&fs.ModeSetgid == 0 {
		t.Skip("this file system has no setgid bit")
	}
	require.NoError(t, os.Mkdir(filepath.Join(f.volume, "app"), 0o700)) // a container that mounts it was first
	require.NoError(t, f.syncer.Sync(t.Context()))
	for _, name := range []string{"app", "tls"} {
		info, err := os.Stat(filepath.Join(f.volume, name))
		require.NoError(t, err)
		assert.Equal(t, fs.ModeDir|fs.ModeSetgid|0o755, info.Mode(), name)
	}
}

func TestADirectoryThatWasRemovedIsWrittenAgain(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, f.syncer.Sync(t.Context()))
	require.NoError(t, os.RemoveAll(filepath.Join(f.volume, "tls")))
	f.broker.set("tls", map[string]string{"tls.crt": "2"})
	require.Error(t, f.syncer.Sync(t.Context()))
	require.NoError(t, f.syncer.Sync(t.Context()))
	assert.Equal(t, map[string]string{"tls.crt": "2"}, f.read("tls"))
}

// TestAFullVolumeKeepsTheOldFiles fills one directory, and another one is written.
func TestAFullVolumeKeepsTheOldFiles(t *testing.T) {
	f := newFixture(t)
	if err := syscall.Mount("tmpfs", f.volume, "tmpfs", 0, "size=256k,mode=0777"); err != nil {
		t.Skipf("a volume of limited size can't be mounted here: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(f.volume, syscall.MNT_DETACH)) })
	require.NoError(t, f.syncer.Sync(t.Context()))
	old := f.read("tls")
	f.broker.set("app", map[string]string{"password": "2"})
	f.broker.set("tls", map[string]string{"tls.crt": strings.Repeat("x", 300<<10)})
	for range 2 {
		err := f.syncer.Sync(t.Context())
		assert.Equal(t, fault.Invalid, fault.KindOf(err))
		assert.ErrorContains(t, err, "the volume is full")
		assert.Equal(t, old, f.read("tls"))
		assert.Equal(t, map[string]string{"password": "2"}, f.read("app"))
	}
	etags, _ := f.broker.requests()
	assert.Equal(t, []string{"", etags[1], ""}, etags, "it is tried again without the ETag")
	assert.NotEmpty(t, etags[1])
	f.broker.set("tls", map[string]string{"tls.crt": "2"})
	require.NoError(t, f.syncer.Sync(t.Context()))
	assert.Equal(t, map[string]string{"tls.crt": "2"}, f.read("tls"))
	require.NoError(t, f.syncer.Sync(t.Context()))
	_, answers := f.broker.requests()
	assert.Equal(t, http.StatusNotModified, answers[len(answers)-1])
}

func TestASyncThatIsStoppedLeavesTheFiles(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, f.syncer.Sync(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.broker.set("tls", map[string]string{"tls.crt": "2"})
	assert.Error(t, f.syncer.Sync(ctx))
	assert.Len(t, f.read("tls"), 2)
	assert.True(t, IsComplete(f.volume))
}

func TestPodFilesAreChecked(t *testing.T) {
	files, err := ParsePodFiles(`{"directories":{"d-1":[{"path":"a","from":"db\u0040azurekeyvault","mode":288}]},"refreshSeconds":60,"onChange":"http://localhost:8080/-/reload"}`)
	require.NoError(t, err)
	assert.Equal(t, []wire.FileEntry{{Path: "a", Reference: "db@azurekeyvault", Mode: 0o440}}, files.Directories["d-1"])
	for _, text := range []string{"", "{}", "null", canary, `{"directories":{}}`, `{"directories":[]}`, `{"directories":{"":[]}}`, `{"directories":{".":[]}}`,
		`{"directories":{"..":[]}}`, `{"directories":{"a/b":[]}}`, `{"directories":{"/a":[]}}`, `{"directories":{".complete":[]}}`, `{"directories":{"a\u0000":[]}}`} {
		_, err := ParsePodFiles(text)
		assert.Equal(t, fault.Invalid, fault.KindOf(err), text)
		assert.Contains(t, fault.NextStepOf(err), "recreate the pod")
		assert.NotContains(t, err.Error(), canary)
	}
}

func TestAnIncompleteConfigurationIsNamed(t *testing.T) {
	_, err := New(Config{Volume: "v"})
	assert.Equal(t, fault.Bug, fault.KindOf(err))
	assert.ErrorContains(t, err, "Clock, Files, Jitter, Log, ReleaseMemory, Sleep, Source")
}

func TestTheMarkerIsAFile(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, os.Mkdir(filepath.Join(f.volume, markerName), 0o700))
	assert.False(t, IsComplete(f.volume))
	assert.Equal(t, fault.Invalid, fault.KindOf(f.syncer.Sync(t.Context())), "it can't be created")
	require.NoError(t, os.Remove(filepath.Join(f.volume, markerName)))
	require.NoError(t, f.syncer.Sync(t.Context()))
	assert.True(t, IsComplete(f.volume))
}
