package podfiles

import (
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// planner collects the directories of all containers.
type planner struct {
	plan Plan
	// names are the names of the directories by their content, as JSON.
	names map[string]string
	files int
}

// addContainer adds the directories and mounts of one container.
func (p *planner) addContainer(container string, requests []request) error {
	for _, r := range requests {
		if err := checkDirectory(r.describe(container), r.directory()); err != nil {
			return err
		}
	}
	if err := checkCollisions(container, requests); err != nil {
		return err
	}
	contents := map[string][]Entry{}
	roots := mountRoots(requests)
	for _, r := range requests {
		root := rootOf(r, roots)
		r.entry.Path = "."
		if r.path != root {
			r.entry.Path = strings.TrimPrefix(r.path, root+"/")
		}
		contents[root] = append(contents[root], r.entry)
	}
	for _, root := range roots {
		name, err := p.addDirectory(contents[root])
		if err != nil {
			return err
		}
		p.plan.Mounts[container] = append(p.plan.Mounts[container], Mount{Path: root, Directory: name})
	}
	return nil
}

// addDirectory adds a directory, unless one with this content is there, and returns its name.
func (p *planner) addDirectory(entries []Entry) (string, error) {
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	content, err := json.Marshal(entries)
	if err != nil { // can't happen: all fields have a JSON form
		return "", err
	}
	if name, ok := p.names[string(content)]; ok {
		return name, nil
	}
	if len(p.plan.Directories) == limits.PodFileDirectories {
		return "", invalidError("put the files into fewer directories, or the same files into all containers",
			"annotation %s: the pod has files in more than %d directories, counting those of different content separately",
			wire.AnnotationFiles, limits.PodFileDirectories)
	}
	if p.files += len(entries); p.files > limits.PodFiles {
		return "", tooManyFilesError()
	}
	name := strconv.Itoa(len(p.plan.Directories))
	p.names[string(content)] = name
	p.plan.Directories = append(p.plan.Directories, Directory{Name: name, Entries: entries})
	return name, nil
}

// checkCollisions checks that no path is a file and a folder, that no file is in a file, and that a folder has only the
// data keys of its resource, which are not known yet.
func checkCollisions(container string, requests []request) error {
	byPath := map[string]request{}
	for _, r := range requests {
		if _, ok := byPath[r.path]; ok {
			return invalidError("choose another path for one of them", "%s is both a file and a folder",
				r.describe(container))
		}
		byPath[r.path] = r
	}
	for _, r := range requests {
		for above := path.Dir(r.path); above != "/"; above = path.Dir(above) {
			other, ok := byPath[above]
			switch {
			case ok && other.entry.IsFolder:
				return invalidError("choose a path outside of it", "%s is in the folder %s, whose files are the data "+
					"keys of a resource", r.describe(container), printable(other.pathAsWritten()))
			case ok:
				return invalidError("choose another path for one of them", "%s needs %s as a directory, and that is a "+
					"file", r.describe(container), printable(other.path))
			}
		}
	}
	return nil
}

// mountRoots are the directories to mount, sorted: those of the files and the folders, without those that are in
// another of them. A mount in a mount would need a directory in a volume that the container can't write.
func mountRoots(requests []request) []string {
	directories := map[string]bool{}
	for _, r := range requests {
		directories[r.directory()] = true
	}
	var roots []string
	for directory := range directories {
		isInner := false
		for above := path.Dir(directory); above != "/" && !isInner; above = path.Dir(above) {
			isInner = directories[above]
		}
		if !isInner {
			roots = append(roots, directory)
		}
	}
	slices.Sort(roots)
	return roots
}

// describe names the container and the path, for errors.
func (r request) describe(container string) string {
	return "container " + printable(container) + ", path " + printable(r.pathAsWritten())
}

// directory is the directory that has to be mounted for an entry alone.
func (r request) directory() string {
	if r.entry.IsFolder {
		return r.path
	}
	return path.Dir(r.path)
}

// rootOf is the mounted directory in which an entry is.
func rootOf(r request, roots []string) string {
	at := slices.IndexFunc(roots, func(root string) bool { return isAtOrBelow(r.directory(), root) })
	return roots[at]
}
