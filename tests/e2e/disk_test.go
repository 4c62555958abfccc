//go:build cluster

package e2e

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
)

// notOnDisk looks for a text on the disk of the cluster's node: in the files of etcd, the kubelet, containerd, all
// containers and all logs. Volumes in memory are other file systems, and are left out.
func notOnDisk(t *testing.T, text string) {
	t.Helper()
	cluster, ok := s.Cluster.(*local.Cluster)
	if !ok {
		t.Log("not tried: the disk of the node, which only the local cluster shows; use CLUSTER=local")
		return
	}
	const control = "a text that is on the disk"
	witness := filepath.Join(cluster.Work, "disk-control")
	require.NoError(t, os.WriteFile(witness, []byte(control), 0o600))
	defer func() { _ = os.Remove(witness) }()
	device := deviceOf(t, cluster.Work)
	found, files, size := map[string][]string{}, 0, int64(0)
	require.NoError(t, filepath.WalkDir(cluster.Work, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // gone since its folder was read
			return nil
		}
		if err != nil {
			return err
		}
		info, err := entry.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case info.Sys().(*syscall.Stat_t).Dev != device && entry.IsDir():
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		files++
		size += info.Size()
		for _, needle := range []string{text, control} {
			if holds(path, needle) {
				found[needle] = append(found[needle], path)
			}
		}
		return nil
	}))
	t.Logf("looked through %d files with %d MB", files, size>>20)
	assert.Contains(t, found[control], witness, "the search finds what is there")
	assert.Empty(t, found[text], "a value is on the disk")
}

func deviceOf(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Sys().(*syscall.Stat_t).Dev
}

// holds reports whether a file has a text. What is gone, or can't be read, has none.
func holds(path, text string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	buffer, kept := make([]byte, 1<<20), 0
	for {
		n, err := file.Read(buffer[kept:])
		if bytes.Contains(buffer[:kept+n], []byte(text)) {
			return true
		}
		if err != nil && (errors.Is(err, io.EOF) || n == 0) {
			return false
		}
		// The end can be the beginning of the text.
		end := buffer[max(0, kept+n-len(text)) : kept+n]
		kept = copy(buffer, end)
	}
}
