//go:build !nov1compat

package image

import (
	"context"
	"maps"
	"runtime"
)

// v1Images is the testbox with what plays the wrapper of akv2k8s 1.8, under its name.
func (m Maker) v1Images(ctx context.Context, testbox Spec, version string) ([]Spec, error) {
	binary, err := m.compile(ctx, "./src/v1compat/cmd/v1-wrapper", version, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	files := maps.Clone(testbox.Files)
	files["/usr/local/bin/azure-keyvault-env"] = File{Content: binary, Mode: 0o755}
	return []Spec{{Name: Repository + "v1-wrapper:" + version, Entrypoint: testbox.Entrypoint, User: testbox.User,
		Files: files}}, nil
}
