package atomicdir

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// tree is the content of a directory.
type tree struct {
	files map[string]File
	// folders has the names in each directory of the tree, "." being the tree itself.
	folders map[string][]string
}

// newTree checks the paths and modes of files. The error is of kind fault.Invalid.
func newTree(files map[string]File) (tree, error) {
	t := tree{files: files, folders: map[string][]string{".": nil}}
	for name, file := range files {
		if name == "." || strings.HasPrefix(name, "..") || !fs.ValidPath(name) || strings.ContainsRune(name, 0) {
			return tree{}, invalidPathError(name, "is not a relative path without . and .. in it")
		}
		if err := file.checkMode(name); err != nil {
			return tree{}, err
		}
		t.addName(name)
	}
	for name := range files {
		if _, isFolder := t.folders[name]; isFolder {
			return tree{}, invalidPathError(name, "is a file, and another path needs it as a directory")
		}
	}
	return t, nil
}

// addName adds a path to its directory, and this to its own.
func (t tree) addName(name string) {
	for name != "." {
		folder, base := path.Split(name)
		folder = path.Clean(folder)
		if slices.Contains(t.folders[folder], base) {
			return
		}
		t.folders[folder] = append(t.folders[folder], base)
		name = folder
	}
}

// topNames are the names that readers see in the directory itself.
func (t tree) topNames() []string { return t.folders["."] }

// holds reports whether a generation has exactly the files of the tree. What can't be read counts as different.
func (d *Dir) holds(generation string, t tree) bool {
	root, err := d.root.OpenRoot(generation)
	if err != nil {
		return false
	}
	defer func() { _ = root.Close() }()
	for folder, names := range t.folders {
		if !hasNames(root, folder, names) {
			return false
		}
	}
	for name, file := range t.files {
		if !hasFile(root, name, file) {
			return false
		}
	}
	return true
}

// hasNames reports whether a directory has these entries and the right mode.
func hasNames(root *os.Root, folder string, names []string) bool {
	if info, err := root.Lstat(folder); err != nil || !info.IsDir() || info.Mode().Perm() != directoryMode {
		return false
	}
	opened, err := root.Open(folder)
	if err != nil {
		return false
	}
	defer func() { _ = opened.Close() }()
	entries, err := opened.ReadDir(len(names) + 1)
	if err != nil && !errors.Is(err, io.EOF) || len(entries) != len(names) {
		return false
	}
	return !slices.ContainsFunc(entries, func(entry fs.DirEntry) bool { return !slices.Contains(names, entry.Name()) })
}

// hasFile reports whether a file has the content and mode. It reads only regular files of the right size, and does not
// wait for one that is not regular.
func hasFile(root *os.Root, name string, file File) bool {
	isWanted := func(info fs.FileInfo) bool {
		return info.Mode() == file.Mode && info.Size() == int64(len(file.Content))
	}
	if info, err := root.Lstat(name); err != nil || !isWanted(info) {
		return false
	}
	opened, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer func() { _ = opened.Close() }()
	if info, err := opened.Stat(); err != nil || !isWanted(info) {
		return false
	}
	content, err := io.ReadAll(io.LimitReader(opened, int64(len(file.Content))+1))
	return err == nil && bytes.Equal(content, file.Content)
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
