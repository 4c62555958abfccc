package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Architectures are what a release has images for.
func Architectures() []string { return []string{"amd64", "arm64"} }

// Indexes makes the images that users install for every architecture. Each is an index in a folder of OCI's image
// layout, whose path is returned by the image's short name. The folder of one with the FIPS 140-3 module ends in
// FIPSSuffix. Equal sources give equal digests.
func (m Maker) Indexes(ctx context.Context) (map[string]string, error) {
	indexes := map[string]v1.ImageIndex{}
	for _, arch := range Architectures() {
		specs, err := m.specs(ctx, Shipped(), arch)
		if err != nil {
			return nil, err
		}
		for i, program := range Shipped() {
			img, err := Build(specs[i])
			if err != nil {
				return nil, err
			}
			index := indexes[program.Image]
			if index == nil {
				index = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
			}
			platform := &v1.Platform{OS: "linux", Architecture: arch}
			indexes[program.Image] = mutate.AppendManifests(index,
				mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
		}
	}
	folders := map[string]string{}
	for name, index := range indexes {
		folders[name] = filepath.Join(m.Into, m.withFlavor(name))
		if err := writeLayout(folders[name], index); err != nil {
			return nil, fmt.Errorf("writing the image %s: %w", name, err)
		}
	}
	return folders, nil
}

// writeLayout replaces what was in the folder before.
func writeLayout(folder string, index v1.ImageIndex) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	return path.AppendIndex(index)
}
