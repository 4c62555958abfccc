package explain

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/webhook/injected"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// explainFiles adds the files of a container to its uses.
func (x *podExplanation) explainFiles(ctx context.Context, c corev1.Container, found *Container) error {
	files := x.filesOf(c)
	if len(files) == 0 {
		return nil
	}
	writer := x.filesWriter()
	reader := Container{Name: c.Name, Injected: x.result.Injected && writer != nil}
	if reader.Injected {
		found.Injected = true
		reader.isDirect, reader.ValuesFrom = injected.UsesOwnCredentials(*writer), x.filesWritten(*writer)
		if found.Reader == "" {
			found.Reader = x.readerOf(*writer)
		}
	}
	for _, file := range files {
		use := Use{File: file.Path, From: "annotation " + wire.AnnotationFiles, Reference: file.String(),
			Resource: file.Name, hasAllKeys: file.HasAllKeys}
		if err := x.explainUse(ctx, reader, file.Reference, &use); err != nil {
			return err
		}
		switch {
		case !reader.Injected:
			use.AtStart = "the file is missing"
		case isSidecar(*writer) && x.result.Exists:
			use.Now = "kept fresh by the container " + writer.Name
		}
		found.Uses = append(found.Uses, use)
	}
	return nil
}

// filesWriter returns the container that writes the files of the pod, or will; nil if there is none.
func (x *podExplanation) filesWriter() *corev1.Container {
	if writer := injected.FilesWriter(x.pod); writer != nil || x.result.Exists || x.simulated == nil {
		return writer
	}
	return injected.FilesWriter(x.simulated)
}

// filesWritten returns when files were written that are written once; nil for a sidecar, and if that is not known.
func (x *podExplanation) filesWritten(writer corev1.Container) *metav1.Time {
	at := slices.IndexFunc(x.pod.Status.InitContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.Name == writer.Name && s.State.Terminated != nil
	})
	if at < 0 || isSidecar(writer) {
		return nil
	}
	return &x.pod.Status.InitContainerStatuses[at].State.Terminated.FinishedAt
}

func isSidecar(c corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}
