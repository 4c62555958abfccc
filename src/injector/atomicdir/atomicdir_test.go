package atomicdir_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/injector/atomicdir"
)

// files are files of mode 0644 with these contents.
func files(contents map[string]string) map[string]atomicdir.File {
	all := map[string]atomicdir.File{}
	for name, content := range contents {
		all[name] = atomicdir.File{Content: []byte(content), Mode: 0o644}
	}
	return all
}

// memoryDir is an empty directory in memory, where the machine has one.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "atomicdir")
	if err != nil {
		t.Logf("a directory on disk is used, because /dev/shm can't be: %v", err)
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func open(t testing.TB, path string) *atomicdir.Dir {
	t.Helper()
	dir, err := atomicdir.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = dir.Close() })
	return dir
}

// seen are the files of a directory as a reader sees them, by path.
func seen(t testing.TB, path string) map[string]string {
	t.Helper()
	all := map[string]string{}
	var visit func(prefix string)
	visit = func(prefix string) {
		entries, err := os.ReadDir(filepath.Join(path, prefix))
		require.NoError(t, err)
		for _, entry := range entries {
			if strings.HasPrefix(entry.Name(), "..") {
				continue
			}
			name := filepath.Join(prefix, entry.Name())
			info, err := os.Stat(filepath.Join(path, name))
			require.NoError(t, err, "a link leads nowhere")
			if info.IsDir() {
				visit(name)
				continue
			}
			content, err := os.ReadFile(filepath.Join(path, name))
			require.NoError(t, err)
			all[name] = string(content)
		}
	}
	visit(".")
	return all
}

// hidden are the names that begin with two dots.
func hidden(t testing.TB, path string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(path)
	require.NoError(t, err)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "..") {
			names = append(names, entry.Name())
		}
	}
	return names
}

func write(t testing.TB, dir *atomicdir.Dir, contents map[string]string) bool {
	t.Helper()
	changed, err := dir.Write(files(contents))
	require.NoError(t, err)
	return changed
}

func TestWriteMakesTheFilesTheContent(t *testing.T) {
	path := memoryDir(t)
	dir := open(t, path)
	for _, contents := range []map[string]string{
		{"a": "1", "b": "2"},
		{"a": "1", "b": "3"},
		{"a": "1"},
		{"a/b/c": "a file became a directory", "a/d": "", "e": "\x00\xff"},
		{"a": "and a file again", "one/two/three/four": "deep"},
		{},
		{".hidden": "one dot is allowed", "a b": "blank", "ä…": "UTF-8", "x..y": "dots"},
	} {
		assert.True(t, write(t, dir, contents))
		assert.Equal(t, contents, seen(t, path))
		assert.False(t, write(t, dir, contents), "it is the same")
		assert.Equal(t, contents, seen(t, path))
	}
}

func TestWithoutAChangeNothingIsWritten(t *testing.T) {
	path := memoryDir(t)
	contents := map[string]string{"a": "1", "b/c": "2"}
	write(t, open(t, path), contents)
	state := func() map[string]fs.FileInfo {
		all := map[string]fs.FileInfo{}
		require.NoError(t, filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
			require.NoError(t, err)
			all[name], err = entry.Info()
			return err
		}))
		return all
	}
	before := state()
	assert.False(t, write(t, open(t, path), contents), "also for a new process")
	after := state()
	require.Len(t, after, len(before))
	for name, info := range before {
		assert.True(t, os.SameFile(info, after[name]), name)
		assert.Equal(t, info.ModTime(), after[name].ModTime(), name)
	}
}

func TestAChangedModeOrNameIsAChange(t *testing.T) {
	path := memoryDir(t)
	dir := open(t, path)
	write(t, dir, map[string]string{"a": "1", "b": "2"})
	changed, err := dir.Write(map[string]atomicdir.File{"a": {Content: []byte("1"), Mode: 0o600}, "b": {Content: []byte("2"), Mode: 0o644}})
	require.NoError(t, err)
	assert.True(t, changed)
	assert.True(t, write(t, dir, map[string]string{"a": "1", "c": "2"}))
	assert.True(t, write(t, dir, map[string]string{"a": "1", "c": "2", "d/e": ""}))
	assert.True(t, write(t, dir, map[string]string{"a": "1", "c": "2", "d/f": ""}))
}

func TestModesAreExact(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	path := memoryDir(t)
	require.NoError(t, os.Chmod(path, 0o777|fs.ModeSetgid), "as a volume with fsGroup")
	want := map[string]atomicdir.File{}
	for name, mode := range map[string]fs.FileMode{"none": 0, "all": 0o777, "read": 0o444, "own": 0o400, "dir/group": 0o640} {
		want[name] = atomicdir.File{Content: []byte(name), Mode: mode}
	}
	_, err := open(t, path).Write(want)
	require.NoError(t, err)
	for name, file := range want {
		info, err := os.Stat(filepath.Join(path, name))
		require.NoError(t, err)
		assert.Equal(t, file.Mode, info.Mode(), name)
	}
	for _, folder := range []string{"..data", "dir"} {
		info, err := os.Stat(filepath.Join(path, folder))
		require.NoError(t, err)
		assert.Equal(t, fs.ModeDir|fs.ModeSetgid|0o755, info.Mode(), "files belong to the group of the volume")
	}
}

func TestWhatCantBeAFileIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	path := memoryDir(t)
	dir := open(t, path)
	for _, name := range []string{"", ".", "..", "../x", "/x", "a/../b", "a//b", "a/", "./a", "a/./b", "..data", "..data/x", "..x", "a\x00b", strings.Repeat("../", 500) + "etc"} {
		changed, err := dir.Write(files(map[string]string{"good": "1", name: "canary-5"}))
		require.Error(t, err, "%q", name)
		assert.False(t, changed)
		assert.Equal(t, fault.Invalid, fault.KindOf(err))
		assert.NotContains(t, err.Error(), "canary")
		assert.NotContains(t, err.Error(), "\x00")
		assert.Less(t, len(err.Error()), 600)
	}
	_, err := dir.Write(files(map[string]string{"a": "1", "a/b": "2"}))
	assert.ErrorContains(t, err, `path "a" is a file, and another path needs it as a directory`)
	_, err = dir.Write(map[string]atomicdir.File{"a": {Mode: fs.ModeSetuid | 0o755}})
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.Empty(t, hidden(t, path))
	_, err = atomicdir.Open(filepath.Join(path, "missing"))
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
}

func TestReplacedValuesGoAfterTheGracePeriod(t *testing.T) {
	path := memoryDir(t)
	dir := open(t, path)
	write(t, dir, map[string]string{"a": "old"})
	inUse, err := os.Open(filepath.Join(path, "..data"))
	require.NoError(t, err)
	defer func() { _ = inUse.Close() }()
	write(t, dir, map[string]string{"a": "new"})
	require.NoError(t, dir.Clean())
	content, err := fs.ReadFile(os.DirFS(filepath.Join("/proc/self/fd", fdOf(inUse))), "a")
	require.NoError(t, err, "who opened the old directory can still read it")
	assert.Equal(t, "old", string(content))
	assert.Len(t, hidden(t, path), 3, "..data and two generations")
	time.Sleep(atomicdir.GracePeriod)
	require.NoError(t, dir.Clean())
	assert.Len(t, hidden(t, path), 2)
	assert.Equal(t, map[string]string{"a": "new"}, seen(t, path))
}

// TestLinksOfOthersLeadNowhere has a container that shares the volume and wants the writer to write elsewhere.
func TestLinksOfOthersLeadNowhere(t *testing.T) {
	const generation = "..2026_11_29_20_40_28.ABCDEF"
	contents := map[string]string{"a": "1", "d/e": "2"}
	for what, plant := range map[string]func(in func(string) string, outside string){
		"..data leads outside": func(in func(string) string, outside string) { _ = os.Symlink(outside, in("..data")) },
		"..data leads outside by way of a generation": func(in func(string) string, outside string) {
			_ = os.Symlink(generation, in("..data"))
			_ = os.Symlink(outside, in(generation))
		},
		"a generation leads outside": func(in func(string) string, outside string) { _ = os.Symlink(outside, in(generation)) },
		"..data is a directory":      func(in func(string) string, _ string) { _ = os.MkdirAll(in("..data/a/b"), 0o755) },
		"..data is a file":           func(in func(string) string, _ string) { _ = os.WriteFile(in("..data"), nil, 0o644) },
		"..data leads to itself":     func(in func(string) string, _ string) { _ = os.Symlink("..data", in("..data")) },
		"temporary links lead outside": func(in func(string) string, outside string) {
			_ = os.Symlink(outside, in("..data_tmp"))
			_ = os.Symlink(filepath.Join(outside, "kept"), in("..link_tmp"))
		},
		"temporary links are directories": func(in func(string) string, _ string) {
			_ = os.MkdirAll(in("..data_tmp/x"), 0o755)
			_ = os.MkdirAll(in("..link_tmp/x"), 0o755)
		},
		"files lead outside": func(in func(string) string, outside string) {
			_ = os.Symlink(filepath.Join(outside, "kept"), in("a"))
			_ = os.Symlink(outside, in("d"))
		},
		"files are directories": func(in func(string) string, outside string) {
			_ = os.MkdirAll(in("a/b"), 0o755)
			_ = os.Symlink(outside, in("a/b/c"))
		},
		"files are files": func(in func(string) string, _ string) { _ = os.WriteFile(in("a"), []byte("other"), 0o644) },
		"a pipe in place of a file": func(in func(string) string, _ string) {
			_ = os.MkdirAll(in(generation+"/d"), 0o755)
			_ = syscall.Mkfifo(in(generation+"/a"), 0o644)
			_ = os.WriteFile(in(generation+"/d/e"), []byte("2"), 0o644)
			_ = os.Symlink(generation, in("..data"))
		},
		"links in a generation lead outside": func(in func(string) string, outside string) {
			_ = os.MkdirAll(in(generation), 0o755)
			_ = os.Symlink(filepath.Join(outside, "kept"), in(generation+"/a"))
			_ = os.Symlink(outside, in(generation+"/d"))
			_ = os.Symlink(generation, in("..data"))
		},
	} {
		t.Run(what, func(t *testing.T) {
			outside, path := t.TempDir(), memoryDir(t)
			kept := filepath.Join(outside, "kept")
			require.NoError(t, os.WriteFile(kept, []byte("kept"), 0o640))
			plant(func(name string) string { return filepath.Join(path, name) }, outside)
			dir := open(t, path)
			assert.True(t, write(t, dir, contents))
			assert.Equal(t, contents, seen(t, path))
			assert.False(t, write(t, open(t, path), contents), "by another process, which does not wait for readers")
			assert.Len(t, hidden(t, path), 2, "what looks like a generation is removed")
			content, err := os.ReadFile(kept)
			require.NoError(t, err)
			assert.Equal(t, "kept", string(content))
			entries, err := os.ReadDir(outside)
			require.NoError(t, err)
			assert.Len(t, entries, 1, "nothing is written there")
		})
	}
}

func TestFilesOfOthersStay(t *testing.T) {
	path := memoryDir(t)
	require.NoError(t, os.WriteFile(filepath.Join(path, "other"), []byte("x"), 0o644))
	require.NoError(t, os.Symlink("other", filepath.Join(path, "link")))
	dir := open(t, path)
	write(t, dir, map[string]string{"a": "1"})
	write(t, dir, map[string]string{"b": "1"})
	assert.Equal(t, []string{"b", "link", "other"}, slices.Sorted(maps.Keys(seen(t, path))))
}

func TestManyEntriesOfOthersAreVisitedInPieces(t *testing.T) {
	path := memoryDir(t)
	for i := range 2000 {
		require.NoError(t, os.Symlink("x", filepath.Join(path, "..2026_11_29_20_40_28.A"+strconv.Itoa(i))))
	}
	dir := open(t, path)
	write(t, dir, map[string]string{"a": "1"})
	assert.Len(t, hidden(t, path), 2)
}

// TestAFullVolumeKeepsTheOldFiles needs a file system of its own.
func TestAFullVolumeKeepsTheOldFiles(t *testing.T) {
	path := t.TempDir()
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size=64k,nr_inodes=24"); err != nil {
		t.Skipf("mounting a file system needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(path, syscall.MNT_DETACH) })
	dir := open(t, path)
	old := map[string]string{"a": strings.Repeat("1", 20<<10), "b": "2"}
	write(t, dir, old)
	refused := func(contents map[string]string) {
		t.Helper()
		before := hidden(t, path)
		changed, err := dir.Write(files(contents))
		assert.False(t, changed)
		require.ErrorIs(t, err, syscall.ENOSPC)
		assert.Contains(t, err.Error(), "raise the size limit of the volume")
		assert.Equal(t, old, seen(t, path), "no link of a file that is not there")
		assert.Equal(t, before, hidden(t, path), "the incomplete directory is removed")
	}
	refused(map[string]string{"a": strings.Repeat("2", 60<<10)})
	many := map[string]string{}
	for i := range 9 { // the files have room, their links have not
		many["f"+string(rune('a'+i))] = "x"
	}
	refused(many)
	for i := range 30 {
		many["g"+time.Duration(i).String()] = "x"
	}
	refused(many)

	fresh := map[string]string{"a": strings.Repeat("3", 20<<10), "b": "2"}
	assert.True(t, write(t, dir, fresh))
	fresh["a"] = strings.Repeat("4", 20<<10)
	assert.True(t, write(t, dir, fresh), "three generations have no room, so the oldest goes before its time")
	assert.Equal(t, fresh, seen(t, path))
}

func TestADirectoryThatCantBeWrittenKeepsItsFiles(t *testing.T) {
	path := memoryDir(t)
	dir := open(t, path)
	write(t, dir, map[string]string{"a": "1"})
	require.NoError(t, dir.Close())
	changed, err := dir.Write(files(map[string]string{"a": "2"}))
	assert.False(t, changed)
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.Contains(t, err.Error(), "check that the directory is a writable volume")
	assert.Error(t, dir.Clean())
	assert.Equal(t, map[string]string{"a": "1"}, seen(t, path))
}

func TestFilesCanBeCheckedBeforeTheyAreWritten(t *testing.T) {
	assert.NoError(t, atomicdir.Check(files(map[string]string{"a": "", "b/c": ""})))
	for _, contents := range []map[string]string{{"../a": ""}, {"a": "", "a/b": ""}} {
		assert.Equal(t, fault.Invalid, fault.KindOf(atomicdir.Check(files(contents))))
	}
	assert.Equal(t, fault.Invalid, fault.KindOf(atomicdir.Check(map[string]atomicdir.File{"a": {Mode: 0o4755}})))
}

func TestReplacedFilesAreKnownUntilTheyAreRemoved(t *testing.T) {
	dir := open(t, memoryDir(t))
	write(t, dir, map[string]string{"a": "1"})
	assert.False(t, dir.HasReplaced())
	write(t, dir, map[string]string{"a": "2"})
	assert.True(t, dir.HasReplaced())
	require.NoError(t, dir.Clean())
	assert.True(t, dir.HasReplaced(), "programs can still read them")
	time.Sleep(atomicdir.GracePeriod)
	require.NoError(t, dir.Clean())
	assert.False(t, dir.HasReplaced())
}
