package podfiles

import (
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// maxName is the maximum length of a file name in Linux, in bytes.
const maxName = 255

// adviceOwnDirectory is the next step for a directory that can't be mounted.
const adviceOwnDirectory = "choose a directory that has only such files, such as /etc/NAME/"

// checkPath checks the form of a path.
func checkPath(where, text string) error {
	problem, next := pathProblem(text), "write an absolute path, such as /etc/app/password"
	if problem == "" {
		problem = namesProblem(strings.Split(strings.TrimSuffix(text[1:], "/"), "/"))
		next = "choose other names; those that begin with two dots belong to the writer of the files"
	}
	if problem != "" {
		return invalidError(next, "%s %s", where, problem)
	}
	return nil
}

// pathProblem says why a text is not an absolute path, empty if it is one.
func pathProblem(text string) string {
	switch {
	case !strings.HasPrefix(text, "/"):
		return "is not absolute"
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "has characters that are not printable"
	case len(text) > limits.FilePathBytes:
		return "has more than " + limits.Bytes(limits.FilePathBytes)
	case strings.Trim(text, "/") == "":
		return "is the root directory"
	case strings.Contains(text, "//"):
		return "has an empty name between two slashes"
	}
	return ""
}

// namesProblem says why the names of a path can't be written, empty if they can.
func namesProblem(names []string) string {
	if len(names) > limits.FilePathLevels {
		return "has more than " + limits.Count(limits.FilePathLevels) + " levels"
	}
	for _, name := range names {
		switch {
		case name == ".":
			return "has the name . in it"
		case strings.HasPrefix(name, ".."):
			return "has a name that begins with two dots"
		case len(name) > maxName:
			return "has a name with more than 255 bytes"
		}
	}
	return ""
}

// reservedTrees are directories in which nothing is mounted: those of the kernel, of Kubernetes, of Azure workload
// identity and of this product. Paths are without /var/run, see canonicalPath.
func reservedTrees() []string {
	return []string{"/dev", "/proc", "/sys", "/run/secrets/kubernetes.io", "/run/secrets/azure",
		canonicalPath(wire.MountToken), canonicalPath(wire.MountInjector), canonicalPath(wire.MountEnvFiles)}
}

// systemDirectories are directories that programs need as the image has them. Directories in them can be mounted.
func systemDirectories() []string {
	return strings.Fields("/ /bin /boot /etc /etc/ssl /etc/ssl/certs /home /lib /lib32 /lib64 /opt /root /run " +
		"/run/secrets /sbin /tmp /usr /usr/bin /usr/lib /usr/lib64 /usr/local /usr/local/bin /usr/local/lib /usr/sbin " +
		"/usr/share /var /var/cache /var/lib /var/log /var/tmp")
}

// canonicalPath cleans a path and follows the link that nearly all images have: /var/run is /run.
func canonicalPath(text string) string {
	text = path.Clean("/" + text)
	if isAtOrBelow(text, "/var/run") {
		return strings.TrimPrefix(text, "/var")
	}
	return text
}

// isAtOrBelow reports whether a clean path is a directory or in it.
func isAtOrBelow(text, directory string) bool {
	return text == directory || directory == "/" || strings.HasPrefix(text, directory+"/")
}

// checkDirectory checks that a directory can be mounted over that of the image.
func checkDirectory(where, directory string) error {
	canonical := canonicalPath(directory)
	for _, reserved := range reservedTrees() {
		if isAtOrBelow(canonical, reserved) {
			return invalidError(adviceOwnDirectory, "%s is in %s, which is reserved", where, reserved)
		}
	}
	if slices.Contains(systemDirectories(), canonical) {
		return invalidError(adviceOwnDirectory, "%s needs a mount of the whole directory %s, which would hide the "+
			"files that the image has there", where, canonical)
	}
	if strings.Contains(directory, ":") {
		return invalidError("choose a directory without a colon", "%s has a directory with a colon, which Kubernetes "+
			"can't mount", where)
	}
	return nil
}

// CheckMounts checks the planned directories of a container against its other mounts: none may be hidden, and none may
// be read-only where a directory has to be created for the mount. The error is of kind fault.Invalid.
func (p Plan) CheckMounts(container string, mounts []corev1.VolumeMount) error {
	for _, planned := range p.Mounts[container] {
		for _, other := range mounts {
			if err := checkMount(container, canonicalPath(planned.Path), other); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkMount checks a planned directory against one mount.
func checkMount(container, directory string, other corev1.VolumeMount) error {
	existing := canonicalPath(other.MountPath)
	where := "container " + printable(container) + ": the directory " + printable(directory) + " of files"
	switch {
	case existing == directory:
		return invalidError("choose another directory for the files", "%s is already the mount of volume %s", where,
			printable(other.Name))
	case isAtOrBelow(existing, directory):
		return invalidError("choose another directory for the files", "%s hides the mount %s of volume %s", where,
			printable(existing), printable(other.Name))
	case other.ReadOnly && isAtOrBelow(directory, existing):
		return invalidError("choose a directory outside of it", "%s is in the mount %s of volume %s, which is "+
			"read-only", where, printable(existing), printable(other.Name))
	}
	return nil
}
