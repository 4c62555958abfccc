package atomicdir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

const (
	// dataLink is the symbolic link to the current generation. Programs that watch a directory know it by this name.
	dataLink = "..data"
	// newDataLink and newFileLink are the names of links before they are renamed.
	newDataLink = "..data_tmp"
	newFileLink = "..link_tmp"
	// directoryMode is the mode of a generation and of the directories in it: programs run as any user.
	directoryMode fs.FileMode = 0o755
	// unfinishedMode is the mode of a file until its content is complete.
	unfinishedMode fs.FileMode = 0o600
)

// GracePeriod is the minimum time that a generation remains after another has replaced it. The kernel follows ..data
// and opens the file in two steps, and a program can open several files of one generation.
const GracePeriod = time.Second

// File is one file of a directory.
type File struct {
	Content []byte
	// Mode has only permission bits. The umask does not change it.
	Mode fs.FileMode
}

// Dir is a directory whose content Write replaces as a whole. Nothing outside of the directory is read or changed,
// whatever symbolic links others create in it. It is not safe for concurrent use, and one process alone may write.
type Dir struct {
	path string
	root *os.Root
	// replaced are the generations that Write has replaced, with the time, oldest first.
	replaced []replacedGeneration
}

type replacedGeneration struct {
	name string
	at   time.Time
}

// Open opens an existing directory. Close ends the use of it.
func Open(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "opening the directory for files")
	}
	return &Dir{path: path, root: root}, nil
}

// Check returns the error of kind fault.Invalid that Write would return for a path or mode of the files.
func Check(files map[string]File) error {
	_, err := newTree(files)
	return err
}

// HasReplaced reports whether there are generations that Write has replaced and Clean can remove.
func (d *Dir) HasReplaced() bool { return len(d.replaced) > 0 }

// Close releases the directory. Its files remain.
func (d *Dir) Close() error { return d.root.Close() }

// Write makes the files, by slash-separated relative path, the content of the directory, and reports whether their
// content, names or modes have changed. A path can't begin with two dots. Without a change, it writes nothing, except
// that it repairs links and removes what a killed writer left. After an error, readers see the same files as before; an
// error after the switch to the new files comes with true.
//
// Replaced generations are removed by the first Write or Clean after GracePeriod.
//
// The errors are of kind fault.Invalid: a path that can't work, or a directory that is full (ENOSPC) or can't be
// written.
func (d *Dir) Write(files map[string]File) (changed bool, err error) {
	tree, err := newTree(files)
	if err != nil {
		return false, err
	}
	current := d.currentGeneration()
	if err := d.removeGenerations(current, d.recentlyReplaced()); err != nil {
		return false, d.writeError(err)
	}
	if current != "" && d.holds(current, tree) {
		err = d.addLinks(tree)
	} else if err = d.replaceGeneration(current, tree); err == nil {
		changed = true
	}
	if err == nil {
		err = d.removeLinks(func(name string) bool { return slices.Contains(tree.topNames(), name) })
	}
	if err != nil {
		return changed, d.writeError(err)
	}
	return changed, nil
}

// Clean removes the generations that were replaced at least GracePeriod ago, with their old values.
func (d *Dir) Clean() error {
	if err := d.removeGenerations(d.currentGeneration(), d.recentlyReplaced()); err != nil {
		return d.writeError(err)
	}
	return nil
}

// writeError adds the next step to an error of the file system.
func (d *Dir) writeError(err error) error {
	next := "check that the directory is a writable volume of memory, and that other containers don't change it"
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		next = "the volume is full and needs space for the old and the new files: use fewer or smaller values, or " +
			"raise the size limit of the volume"
	}
	return &fault.Error{Kind: fault.Invalid, Operation: "writing files into " + d.path, Cause: err, Next: next}
}

// replaceGeneration writes a new generation and switches to it. If the volume is full, it gives up the grace period of
// older generations and tries once more.
func (d *Dir) replaceGeneration(current string, tree tree) error {
	name, err := d.prepareGeneration(current, tree)
	if err != nil && len(d.replaced) > 0 && errors.Is(err, syscall.ENOSPC) {
		if err := d.removeGenerations(current, nil); err != nil {
			return err
		}
		name, err = d.prepareGeneration(current, tree)
	}
	if err != nil {
		return err
	}
	if err := d.switchTo(name); err != nil {
		return errors.Join(err, d.abandonGeneration(current, name))
	}
	if current != "" {
		d.replaced = append(d.replaced, replacedGeneration{current, time.Now()})
	}
	return nil
}

// prepareGeneration does everything that can fail for lack of space. The links of new files come before the switch, so
// that it shows all new files at once; until then they lead nowhere, and a reader sees that there is no such file.
func (d *Dir) prepareGeneration(current string, tree tree) (name string, err error) {
	name, err = d.writeGeneration(tree)
	if err != nil {
		return "", err
	}
	if err := d.addLinks(tree); err != nil {
		return "", errors.Join(err, d.abandonGeneration(current, name))
	}
	return name, nil
}

// abandonGeneration removes a generation that did not become the current one, and the links of its files.
func (d *Dir) abandonGeneration(current, name string) error {
	return errors.Join(d.root.RemoveAll(name), d.removeLinks(func(name string) bool {
		_, err := d.root.Lstat(path.Join(current, name))
		return current != "" && err == nil
	}))
}

// writeGeneration writes the files into a new directory and returns its name. On failure, the directory is removed.
func (d *Dir) writeGeneration(tree tree) (string, error) {
	name := newGenerationName(time.Now())
	if err := d.root.Mkdir(name, directoryMode); err != nil {
		return "", err
	}
	if err := d.fillGeneration(name, tree); err != nil {
		return "", errors.Join(err, d.root.RemoveAll(name))
	}
	return name, nil
}

// fillGeneration writes the files into an empty directory. It has a root of its own, so that links in this directory
// can't lead into another generation.
func (d *Dir) fillGeneration(name string, tree tree) (err error) {
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, folder := range slices.Sorted(maps.Keys(tree.folders)) {
		if err := makeFolder(root, folder); err != nil {
			return err
		}
	}
	for _, file := range slices.Sorted(maps.Keys(tree.files)) {
		if err := writeFile(root, file, tree.files[file]); err != nil {
			return err
		}
	}
	return nil
}

// makeFolder creates a directory, unless it is the root, and sets its exact mode. It keeps the setgid bit of a volume
// with fsGroup, which gives the files to that group.
func makeFolder(root *os.Root, folder string) error {
	if folder != "." {
		if err := root.Mkdir(folder, directoryMode); err != nil {
			return err
		}
	}
	opened, err := root.Open(folder)
	if err != nil {
		return err
	}
	info, err := opened.Stat()
	if err == nil {
		err = opened.Chmod(directoryMode | info.Mode()&fs.ModeSetgid)
	}
	return errors.Join(err, opened.Close())
}

// writeFile writes a new file. Its mode is set last, so that nobody else reads an incomplete one.
func writeFile(root *os.Root, name string, file File) error {
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, unfinishedMode)
	if err != nil {
		return err
	}
	_, err = out.Write(file.Content)
	return errors.Join(err, out.Chmod(file.Mode), out.Close())
}

// switchTo makes a generation the current one.
func (d *Dir) switchTo(name string) error {
	if info, err := d.root.Lstat(dataLink); err == nil && info.Mode().Type() != fs.ModeSymlink {
		// Nothing that this package writes. A rename can't replace a directory by a link.
		if err := d.root.RemoveAll(dataLink); err != nil {
			return err
		}
	}
	return d.replaceLink(newDataLink, dataLink, name)
}

// replaceLink makes a name a symbolic link to the target, in one step.
func (d *Dir) replaceLink(temporary, name, target string) error {
	if err := d.root.RemoveAll(temporary); err != nil {
		return err
	}
	if err := d.root.Symlink(target, temporary); err != nil {
		return err
	}
	if err := d.root.Rename(temporary, name); err != nil {
		return errors.Join(err, d.root.Remove(temporary))
	}
	return nil
}

// addLinks creates the links that readers see, where they are missing or wrong.
func (d *Dir) addLinks(tree tree) error {
	for _, name := range tree.topNames() {
		target := path.Join(dataLink, name)
		info, err := d.root.Lstat(name)
		switch {
		case err == nil && info.Mode().Type() == fs.ModeSymlink:
			if found, err := d.root.Readlink(name); err == nil && found == target {
				continue
			}
		case err == nil && info.IsDir():
			if err := d.root.RemoveAll(name); err != nil {
				return err
			}
		}
		if err := d.replaceLink(newFileLink, name, target); err != nil {
			return err
		}
	}
	return nil
}

// removeLinks removes the links of files that are not wanted. What others wrote into the directory stays.
func (d *Dir) removeLinks(isWanted func(name string) bool) error {
	return d.eachEntry(func(entry fs.DirEntry) error {
		name := entry.Name()
		if strings.HasPrefix(name, "..") || entry.Type() != fs.ModeSymlink || isWanted(name) {
			return nil
		}
		if target, err := d.root.Readlink(name); err != nil || target != path.Join(dataLink, name) {
			return nil //nolint:nilerr // another container removed or replaced it, so it isn't ours
		}
		return d.root.Remove(name)
	})
}

// newGenerationName is a name that no generation has had, such as ..2026_11_29_20_40_28.QK3V6ZQ7.
func newGenerationName(now time.Time) string {
	return now.UTC().Format("..2006_01_02_15_04_05.") + rand.Text()[:12]
}

// isGenerationName reports whether a name has the form of newGenerationName.
func isGenerationName(name string) bool {
	rest, isHidden := strings.CutPrefix(name, "..")
	stamp, random, hasRandom := strings.Cut(rest, ".")
	_, err := time.Parse("2006_01_02_15_04_05", stamp)
	return isHidden && hasRandom && err == nil && random != "" && !strings.ContainsAny(random, "/.")
}

// currentGeneration is the name of the generation that readers see, empty if there is none.
func (d *Dir) currentGeneration() string {
	name, err := d.root.Readlink(dataLink)
	if err != nil || !isGenerationName(name) {
		return ""
	}
	if info, err := d.root.Lstat(name); err != nil || !info.IsDir() {
		return ""
	}
	return name
}

// recentlyReplaced are the generations that readers can still use, and forgets the others.
func (d *Dir) recentlyReplaced() (names []string) {
	d.replaced = slices.DeleteFunc(d.replaced, func(g replacedGeneration) bool {
		return time.Since(g.at) >= GracePeriod
	})
	for _, g := range d.replaced {
		names = append(names, g.name)
	}
	return names
}

// removeGenerations removes all generations but the current one and those to keep, and the temporary links of a killed
// writer.
func (d *Dir) removeGenerations(current string, keep []string) error {
	if len(keep) == 0 {
		d.replaced = nil
	}
	return d.eachEntry(func(entry fs.DirEntry) error {
		name := entry.Name()
		isLeft := name == newDataLink || name == newFileLink ||
			isGenerationName(name) && name != current && !slices.Contains(keep, name)
		if !isLeft {
			return nil
		}
		return d.root.RemoveAll(name)
	})
}

// entriesAtOnce limits the memory for a directory that others fill.
const entriesAtOnce = 256

// eachEntry visits the entries of the directory.
func (d *Dir) eachEntry(visit func(fs.DirEntry) error) (err error) {
	opened, err := d.root.Open(".")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	for {
		entries, err := opened.ReadDir(entriesAtOnce)
		for _, entry := range entries {
			if err := visit(entry); err != nil {
				return err
			}
		}
		if len(entries) == 0 {
			return ignoreEOF(err)
		}
	}
}

// invalidPathError is an error about a path in the argument of Write.
func invalidPathError(name, problem string) error {
	return fault.NewWithNextStep(fault.Invalid, "choose another path", "path %.*q %s", maxShownPath, name, problem)
}

// maxShownPath limits the characters of a path in an error.
const maxShownPath = 253

func (f File) checkMode(name string) error {
	if f.Mode&^fs.ModePerm != 0 {
		return fault.NewWithNextStep(fault.Invalid, "use permission bits only, such as 0400",
			"path %.*q has the mode %s", maxShownPath, name, fmt.Sprintf("%#o", uint32(f.Mode)))
	}
	return nil
}
