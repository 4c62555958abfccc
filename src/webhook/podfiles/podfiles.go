package podfiles

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe/fileformat"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// DefaultMode is the mode of a file without the option mode. Every user can read it, because the user who writes files
// is seldom the one who reads them.
const DefaultMode fs.FileMode = 0o644

// Plan is what the annotations of a pod request.
type Plan struct {
	// Directories to write. Each becomes a directory of its own in a volume in memory.
	Directories []Directory
	// Mounts of each container, by its name, sorted by path. A container without files is missing.
	Mounts map[string][]Mount
}

// IsEmpty reports whether the pod requests no files.
func (p Plan) IsEmpty() bool { return len(p.Directories) == 0 }

// Directory is the content of one mounted directory. Containers with the same content share it.
type Directory struct {
	// Name in the volume: a number, which the same annotations give again.
	Name string
	// Entries in the order of their paths. At most one has the path ".", and then it is the only one.
	Entries []Entry
}

// Mount is a directory as a container sees it. It is mounted as a whole: a single file, mounted by subPath, would keep
// its first content.
type Mount struct {
	// Path in the container, absolute, without a slash at its end.
	Path string
	// Directory is the name of the mounted directory.
	Directory string
}

// Entry is a file or a folder of a directory.
type Entry struct {
	// Path in the directory, such as "tls.crt" or "sub/tls.crt"; "." is the directory itself.
	Path string
	// IsFolder says that the entry is a folder with a file for each data key of the resource.
	IsFolder bool
	// Reference to the value. For a folder, and for a format that holds all data keys, it has no query.
	Reference envref.Reference
	// Mode of the file, or of each file of the folder.
	Mode fs.FileMode
	// Format of the file; fileformat.Raw for a folder.
	Format fileformat.Format
	// Password is the reference to the password of the file; nil if the format has none.
	Password *envref.Reference
}

// request is an entry with its absolute path in a container, as an annotation has it.
type request struct {
	// path has no slash at its end, also that of a folder.
	path  string
	entry Entry
}

// IsRequested reports whether a pod has one of the annotations.
func IsRequested(annotations map[string]string) bool {
	return len(annotationNames(annotations)) > 0
}

// annotationNames are the names of our annotations that a pod has, sorted.
func annotationNames(annotations map[string]string) (names []string) {
	for name := range annotations {
		if name == wire.AnnotationFiles || strings.HasPrefix(name, wire.AnnotationContainerFiles) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Parse parses the annotations of a pod with these containers, init containers included. The error is of kind
// fault.Invalid. It names the annotation or the container, and the path, and never quotes a reference, because a user
// can write a value in its place.
func Parse(annotations map[string]string, containers []string) (Plan, error) {
	byContainer, count := map[string][]request{}, 0
	for _, name := range annotationNames(annotations) {
		container := strings.TrimPrefix(strings.TrimPrefix(name, wire.AnnotationFiles), ".")
		if name != wire.AnnotationFiles && !slices.Contains(containers, container) {
			return Plan{}, invalidError("use the name of a container, or "+wire.AnnotationFiles+" for all containers",
				"annotation %s: the pod has no such container", printable(name))
		}
		requests, err := parseAnnotation(name, annotations[name])
		if err != nil {
			return Plan{}, err
		}
		byContainer[container] = requests
		if count += len(requests); count > limits.PodFiles {
			return Plan{}, tooManyFilesError()
		}
	}
	p := planner{plan: Plan{Mounts: map[string][]Mount{}}, names: map[string]string{}}
	var shared []Mount
	for _, container := range containers {
		own := byContainer[container]
		if len(own) == 0 && shared != nil {
			p.plan.Mounts[container] = slices.Clone(shared)
			continue
		}
		if err := p.addContainer(container, mergeRequests(byContainer[""], own)); err != nil {
			return Plan{}, err
		}
		if len(own) == 0 {
			shared = p.plan.Mounts[container]
		}
	}
	return p.plan, nil
}

// mergeRequests returns the requests for all containers and those for one, which win over others of the same path.
func mergeRequests(shared, own []request) []request {
	if len(own) == 0 {
		return shared
	}
	byPath := map[string]request{}
	for _, r := range slices.Concat(shared, own) {
		byPath[r.pathAsWritten()] = r
	}
	merged := make([]request, 0, len(byPath))
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		merged = append(merged, byPath[path])
	}
	return merged
}

// pathAsWritten is the path with the slash at the end of a folder.
func (r request) pathAsWritten() string {
	if r.entry.IsFolder {
		return r.path + "/"
	}
	return r.path
}

func tooManyFilesError() error {
	return invalidError("use folders (a path that ends with a slash) or one file of format json in place of many files",
		"annotation %s: the pod has more than %d files", wire.AnnotationFiles, limits.PodFiles)
}

// invalidError is an error with the next step.
func invalidError(next, format string, args ...any) error {
	return fault.NewWithNextStep(fault.Invalid, next, format, args...)
}

// printable quotes a name or path for a message: shortened, with escapes in place of unprintable characters. Admission
// comes before validation, so that it can be any text.
func printable(text string) string {
	if len(text) > limits.AdmissionNameBytes {
		return fmt.Sprintf("%.*q…", limits.AdmissionNameBytes, text)
	}
	return fmt.Sprintf("%q", text)
}
