package injected

import (
	"encoding/json"
	"path"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// File is a file of a container, or a folder with a file for each data key, whose content comes from a vault.
type File struct {
	envref.Reference
	// Path in the container; that of a folder ends with a slash.
	Path string
	// HasAllKeys says that it has all data keys of the resource, so the reference selects none of them.
	HasAllKeys bool
}

// Files returns the files of a container, as the webhook recorded them when the pod was created.
func Files(pod *corev1.Pod, c corev1.Container) []File {
	writer := FilesWriter(pod)
	if writer == nil {
		return nil
	}
	var written wire.PodFiles
	for _, variable := range writer.Env {
		if variable.Name == wire.EnvFiles && json.Unmarshal([]byte(variable.Value), &written) != nil {
			return nil
		}
	}
	var files []File
	for _, mount := range c.VolumeMounts {
		if mount.Name != wire.VolumeFiles {
			continue
		}
		for _, entry := range written.Directories[mount.SubPath] {
			reference, err := envref.Parse(entry.Reference)
			if err != nil {
				continue
			}
			file := File{Reference: reference, Path: path.Join(mount.MountPath, entry.Path),
				HasAllKeys: entry.IsFolder || entry.Format != "" && reference.Query == ""}
			if entry.IsFolder {
				file.Path += "/"
			}
			files = append(files, file)
		}
	}
	return files
}

// FilesWriter returns the container that writes the files of a pod: a sidecar if it keeps them fresh. It returns nil if
// the pod has none.
func FilesWriter(pod *corev1.Pod) *corev1.Container {
	var writer *corev1.Container
	for i, c := range pod.Spec.InitContainers {
		if c.Name == wire.FilesContainer || c.Name == wire.FilesInitContainer && writer == nil {
			writer = &pod.Spec.InitContainers[i]
		}
	}
	return writer
}
