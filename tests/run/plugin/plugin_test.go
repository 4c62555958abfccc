package plugin

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/cli"
)

func newPacker(t *testing.T) Packer {
	t.Helper()
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	return Packer{Root: root, Out: io.Discard}
}

func TestThePluginsArchivesAreReproducible(t *testing.T) {
	created := time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)
	files, err := newPacker(t).pluginFiles(created)
	require.NoError(t, err)
	for _, name := range []string{"LICENSE", "kubectl_complete-akv2k8s", "completions/kubectl-akv2k8s.bash",
		"completions/kubectl-akv2k8s.zsh", "completions/kubectl-akv2k8s.fish", "completions/kubectl-akv2k8s.powershell"} {
		assert.NotEmpty(t, files[name].content, name)
	}
	assert.Contains(t, string(files["man/kubectl-akv2k8s-convert.1"].content), "2026")
	for _, on := range platforms() {
		first, err := packFiles(files, on, created)
		require.NoError(t, err)
		again, err := newPacker(t).pluginFiles(created)
		require.NoError(t, err)
		second, err := packFiles(again, on, created)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(first, second), on.archive())
		assert.ElementsMatch(t, keysOf(files), namesIn(t, on, first))
	}
}

// TestEveryCommandHasAManualPageAndCompletion compares the pages with the commands, and has bash parse its script.
func TestEveryCommandHasAManualPageAndCompletion(t *testing.T) {
	files, err := newPacker(t).pluginFiles(time.Unix(0, 0))
	require.NoError(t, err)
	var want, got []string
	var add func(*cobra.Command)
	add = func(cmd *cobra.Command) {
		want = append(want, "man/"+strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				add(sub)
			}
		}
	}
	root := cli.NewCommand(genericiooptions.IOStreams{})
	add(root)
	require.Greater(t, len(want), 6)
	for _, name := range keysOf(files) {
		if strings.HasPrefix(name, "man/") {
			got = append(got, name)
			page := string(files[name].content)
			for _, section := range []string{".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"} {
				assert.Contains(t, page, section, name)
			}
		}
	}
	assert.ElementsMatch(t, want, got)
	script := exec.CommandContext(t.Context(), "bash", "-n")
	script.Stdin = bytes.NewReader(files["completions/kubectl-akv2k8s.bash"].content)
	out, err := script.CombinedOutput()
	require.NoError(t, err, string(out))
	for name, text := range map[string]string{"bash": "complete -o default", "zsh": "#compdef kubectl-akv2k8s", "fish": "complete -c kubectl-akv2k8s",
		"powershell": "Register-ArgumentCompleter"} {
		assert.Contains(t, string(files["completions/kubectl-akv2k8s."+name].content), text)
	}
}

func keysOf(files map[string]packedFile) []string {
	var all []string
	for name := range files {
		all = append(all, name)
	}
	return all
}

// namesIn returns the names of the files in an archive.
func namesIn(t *testing.T, on platform, packed []byte) []string {
	t.Helper()
	var all []string
	if strings.HasSuffix(on.archive(), ".zip") {
		archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
		require.NoError(t, err)
		for _, f := range archive.File {
			all = append(all, f.Name)
		}
		return all
	}
	compressed, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(t, err)
	archive := tar.NewReader(compressed)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		all = append(all, header.Name)
	}
}

func TestTheKrewManifestNamesEveryPlatform(t *testing.T) {
	sums := map[platform]string{}
	for _, on := range platforms() {
		sums[on] = strings.Repeat("0", 60) + on.arch[:1] + on.os[:3]
	}
	text, err := krewManifest("2.0.0", sums)
	require.NoError(t, err)
	var manifest struct {
		Metadata struct{ Name string }
		Spec     struct {
			Version   string
			Platforms []struct{ URI, SHA256, Bin string }
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &manifest))
	assert.Equal(t, "akv2k8s", manifest.Metadata.Name)
	assert.Equal(t, "v2.0.0", manifest.Spec.Version)
	require.Len(t, manifest.Spec.Platforms, 5)
	for i, on := range platforms() {
		entry := manifest.Spec.Platforms[i]
		assert.Equal(t, "https://github.com/akv2k8s/akv2k8s/releases/download/v2.0.0/"+on.archive(), entry.URI)
		assert.Equal(t, sums[on], entry.SHA256)
		assert.Equal(t, on.program(), entry.Bin)
	}
}

// The budgets of the command line, in bytes: the program, and an archive with it.
const (
	maxProgram = 45_000_000
	maxArchive = 15_000_000
)

func TestThePluginIsStaticSmallAndStarts(t *testing.T) {
	p := newPacker(t)
	p.Cache = t.TempDir()
	content, err := p.compilePlugin(t.Context(), platform{"linux", "amd64"}, "2.0.0")
	require.NoError(t, err)
	require.NotEmpty(t, content)
	assert.LessOrEqual(t, len(content), maxProgram, "a package that uses text/template makes the linker keep 20 MB of methods; "+
		"find it with go build -ldflags=-dumpdep, and search for ReflectMethod")
	files, err := p.pluginFiles(time.Unix(0, 0))
	require.NoError(t, err)
	on := platform{"linux", "amd64"}
	files[on.program()] = packedFile{content, 0o755}
	packed, err := packFiles(files, on, time.Unix(0, 0))
	require.NoError(t, err)
	t.Logf("the program has %.1f MB, and its archive %.1f MB", float64(len(content))/1e6, float64(len(packed))/1e6)
	assert.LessOrEqual(t, len(packed), maxArchive)
	program := filepath.Join(p.Cache, "programs", "plugin-linux-amd64")
	file, err := elf.Open(program)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	for _, segment := range file.Progs {
		assert.NotEqual(t, elf.PT_INTERP, segment.Type, "it needs no libraries")
	}
	out, err := exec.CommandContext(t.Context(), program, "--version").Output()
	require.NoError(t, err)
	assert.Equal(t, "2.0.0\n", string(out))
}
