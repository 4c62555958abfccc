package image_test

import (
	"archive/tar"
	"crypto/x509"
	"errors"
	"io"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/tests/cluster/image"
)

func spec(content string) image.Spec {
	return image.Spec{Name: "localhost/x:1", Entrypoint: []string{"/bin/x"}, User: "65532:65532", Files: map[string]image.File{
		"/bin/x": {Content: []byte(content), Mode: 0o755}, "/bin/y": {Link: "/bin/x", Mode: 0o777}}}
}

func TestEqualContentGivesAnEqualImage(t *testing.T) {
	one, err := image.Build(spec("a"))
	require.NoError(t, err)
	two, err := image.Build(spec("a"))
	require.NoError(t, err)
	other, err := image.Build(spec("b"))
	require.NoError(t, err)
	a, err := one.Digest()
	require.NoError(t, err)
	b, err := two.Digest()
	require.NoError(t, err)
	c, err := other.Digest()
	require.NoError(t, err)
	assert.Equal(t, a, b)
	assert.NotEqual(t, a, c)
}

func TestAnArchiveHoldsWhatTheSpecSays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.tar")
	require.NoError(t, image.Write(spec("content"), file))
	img, err := tarball.ImageFromPath(file, nil)
	require.NoError(t, err)
	config, err := img.ConfigFile()
	require.NoError(t, err)
	assert.Equal(t, "65532:65532", config.Config.User)
	assert.Equal(t, "linux/"+runtime.GOARCH, config.OS+"/"+config.Architecture, "an index of images chooses by it")
	assert.Equal(t, []string{"/bin/x"}, config.Config.Entrypoint)
	found := map[string]string{}
	reader := tar.NewReader(mutate.Extract(img))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		content, err := io.ReadAll(reader)
		require.NoError(t, err)
		found[header.Name] = header.Linkname + string(content)
	}
	assert.Equal(t, "content", found["bin/x"])
	assert.Equal(t, "/bin/x", found["bin/y"])
	assert.Contains(t, found, "tmp")
}

func TestPublicRootsAreCertificates(t *testing.T) {
	assert.True(t, x509.NewCertPool().AppendCertsFromPEM(image.PublicRoots()))
	assert.Greater(t, len(image.PublicRoots()), 100_000)
}
