package image

import (
	"archive/tar"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// File is a file of an image: either content, or a link to another path.
type File struct {
	Content []byte
	Link    string
	Mode    int64
}

// Spec describes an image from scratch with one layer.
type Spec struct {
	// Name with tag, as pods write it.
	Name       string
	Entrypoint []string
	// User as uid:gid.
	User string
	// Files by absolute path.
	Files map[string]File
	// Architecture of the programs, such as arm64; empty means this machine's.
	Architecture string
}

// epoch is the time of every file and image, so that equal content gives an equal image.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

// Build makes the image.
func Build(spec Spec) (v1.Image, error) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		content, err := archive(spec.Files)
		return io.NopCloser(bytes.NewReader(content)), err
	})
	if err != nil {
		return nil, fmt.Errorf("making the layer of %s: %w", spec.Name, err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Created = cmp.Or(spec.Architecture, runtime.GOARCH), "linux",
		v1.Time{Time: epoch()}
	file.Config = v1.Config{Entrypoint: spec.Entrypoint, User: spec.User, WorkingDir: "/",
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	return mutate.ConfigFile(img, file)
}

// Write makes the image and writes it as an archive that containerd, docker and kind can load.
func Write(spec Spec, file string) error {
	img, err := Build(spec)
	if err != nil {
		return err
	}
	tag, err := name.NewTag(spec.Name)
	if err != nil {
		return err
	}
	partial := file + ".partial"
	if err := tarball.WriteToFile(partial, tag, img); err != nil {
		return fmt.Errorf("writing %s: %w", spec.Name, err)
	}
	return os.Rename(partial, file)
}

func archive(files map[string]File) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, folder := range folders(files) {
		header := &tar.Header{Name: folder + "/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: epoch()}
		if folder == "tmp" {
			header.Mode = 0o1777
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if err := add(w, strings.TrimPrefix(file, "/"), files[file]); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}

func add(w *tar.Writer, file string, f File) error {
	header := &tar.Header{Name: file, Typeflag: tar.TypeReg, Mode: f.Mode, Size: int64(len(f.Content)),
		ModTime: epoch()}
	if f.Link != "" {
		header.Typeflag, header.Linkname, header.Size = tar.TypeSymlink, f.Link, 0
	}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(f.Content)
	return err
}

// folders are the parents of all files, outermost first, and tmp.
func folders(files map[string]File) []string {
	set := map[string]bool{"tmp": true}
	for file := range files {
		for dir := path.Dir(strings.TrimPrefix(file, "/")); dir != "." && dir != "/"; dir = path.Dir(dir) {
			set[dir] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}
