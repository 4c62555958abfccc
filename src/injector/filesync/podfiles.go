package filesync

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// adviceRecreatePod is the next step if a variable of the webhook is damaged.
const adviceRecreatePod = "recreate the pod so that the env-injector sets it"

// ParsePodFiles parses and checks the text of the variable wire.EnvFiles. The error is of kind fault.Invalid.
func ParsePodFiles(text string) (wire.PodFiles, error) {
	var files wire.PodFiles
	if json.Unmarshal([]byte(text), &files) != nil || len(files.Directories) == 0 {
		return wire.PodFiles{}, fault.NewWithNextStep(fault.Invalid, adviceRecreatePod,
			"%s is not a JSON object with directories", wire.EnvFiles)
	}
	for name := range files.Directories {
		if !isDirectoryName(name) {
			return wire.PodFiles{}, fault.NewWithNextStep(fault.Invalid, adviceRecreatePod,
				"%s has the directory %.*q, which is not a name", wire.EnvFiles, maxShownName, name)
		}
	}
	if files.OnChange == "" {
		return files, nil
	}
	return files, checkOnChange(files.OnChange)
}

// maxShownName limits the characters of a name in an error.
const maxShownName = 253

// isDirectoryName reports whether a name is that of a directory directly in the volume. Names with a dot at the
// beginning are those of this package.
func isDirectoryName(name string) bool {
	return fs.ValidPath(name) && !strings.HasPrefix(name, ".") && !strings.ContainsAny(name, "/\x00")
}

// loopbackAddresses are the addresses that are called for the host of an on-change URL. No name is resolved, so that
// the call can't leave the pod.
func loopbackAddresses(host string) []string {
	addresses := map[string][]string{"localhost": {"127.0.0.1", "::1"}, "127.0.0.1": {"127.0.0.1"}, "::1": {"::1"}}
	return addresses[strings.ToLower(host)]
}

// checkOnChange checks an on-change URL. The error does not quote it, because its query can have a password.
func checkOnChange(text string) error {
	at, err := url.Parse(text)
	if err != nil || at.Scheme != "http" || at.User != nil || len(loopbackAddresses(at.Hostname())) == 0 {
		return fault.NewWithNextStep(fault.Invalid, "write http://localhost:PORT/PATH",
			"the annotation %s is not an HTTP URL with host localhost, 127.0.0.1 or [::1], without a user",
			wire.AnnotationOnChange)
	}
	return nil
}

// markerName is the name of a file in the volume that exists since all directories were written once.
const markerName = ".complete"

// IsComplete reports whether all files were written into the volume.
func IsComplete(volume string) bool {
	info, err := os.Lstat(filepath.Join(volume, markerName))
	return err == nil && info.Mode().IsRegular()
}

// markComplete creates the marker.
func markComplete(volume string) error {
	if err := os.WriteFile(filepath.Join(volume, markerName), nil, 0o600); err != nil {
		return volumeError(err)
	}
	return nil
}

// volumeError adds the next step to an error of the volume.
func volumeError(err error) error {
	return &fault.Error{Kind: fault.Invalid, Operation: "preparing the volume for files", Cause: err,
		Next: "check that " + wire.VolumeFiles + " is a writable volume of memory with free space"}
}

// directoryMode is the mode of the directories: programs run as any user.
const directoryMode fs.FileMode = 0o755

// makeDirectory creates a directory of the volume if it does not exist, and returns its path. It keeps the setgid bit
// of a volume with fsGroup.
func makeDirectory(volume, name string) (path string, err error) {
	root, err := os.OpenRoot(volume)
	if err != nil {
		return "", volumeError(err)
	}
	defer func() { _ = root.Close() }()
	if err := root.Mkdir(name, directoryMode); err != nil && !os.IsExist(err) {
		return "", volumeError(err)
	}
	info, err := root.Lstat(name)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", name)
	}
	if err != nil {
		return "", volumeError(err)
	}
	if mode := directoryMode | info.Mode()&fs.ModeSetgid; info.Mode() != fs.ModeDir|mode {
		// The kubelet creates a directory itself if a container mounts it earlier. It belongs to root then, and has a
		// mode with which this process can write.
		_ = root.Chmod(name, mode)
	}
	return filepath.Join(volume, name), nil
}
