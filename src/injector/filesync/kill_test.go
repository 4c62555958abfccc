package filesync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/broker/client"
	"github.com/akv2k8s/akv2k8s/src/injector/atomicdir"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// changingSource has two other files that belong together in each answer.
type changingSource struct{ number int }

func (s *changingSource) Files(context.Context, string) (client.FilesAnswer, error) {
	s.number++
	certificate, key := pairOf(s.number)
	files := map[string]wire.FileContent{
		"tls.crt": {Content: []byte(certificate), Mode: 0o444}, "sub/tls.key": {Content: []byte(key), Mode: 0o444},
	}
	if s.number%2 == 0 { // names come and go, too
		files["even"] = wire.FileContent{Mode: 0o400}
	}
	return client.FilesAnswer{Directories: map[string]map[string]wire.FileContent{"tls": files}, RefreshAfter: time.Minute}, nil
}

// TestMain runs the tests, or the child process of TestAKilledSidecarLeavesFilesThatBelongTogether.
func TestMain(m *testing.M) {
	if volume := os.Getenv("FILESYNC_CHILD"); volume != "" {
		fmt.Fprintln(os.Stderr, runSidecarChild(context.Background(), volume)) // there is no test whose context it could use
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// runSidecarChild is a sidecar with intervals of a millisecond until the process is killed. It returns only an error.
func runSidecarChild(ctx context.Context, volume string) error {
	resumes := IsComplete(volume)
	s, err := New(Config{Volume: volume, Files: wire.PodFiles{Directories: map[string][]wire.FileEntry{"tls": nil}},
		Source: &changingSource{number: os.Getpid()}, Log: slog.New(slog.DiscardHandler), Clock: time.Now,
		Jitter: func(time.Duration) time.Duration { return 0 }, ReleaseMemory: func() {},
		Sleep: func(ctx context.Context, d time.Duration) error {
			if resumes && d == atomicdir.GracePeriod { // the wait of a process that was restarted, in its real length
				resumes = false
				defer fmt.Println("ready") // the parent process waits for this line
				return sleepReally(ctx, d)
			}
			return sleepReally(ctx, time.Millisecond)
		}})
	if err != nil {
		return err
	}
	if resumes {
		s.Resume(ctx)
		return ctx.Err()
	}
	if err := s.Sync(ctx); err != nil {
		return err
	}
	fmt.Println("ready") // the parent process waits for this line
	s.KeepFresh(ctx)
	return ctx.Err()
}

// readAt reads a file below an open directory.
func readAt(folder int, name string) ([]byte, error) {
	fd, err := syscall.Openat(folder, name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s is missing: %w", name, err)
	}
	defer func() { _ = syscall.Close(fd) }()
	buffer, size := make([]byte, 4096), 0
	for {
		n, err := syscall.Read(fd, buffer[size:])
		if err != nil || n == 0 {
			return buffer[:size], err
		}
		size += n
	}
}

// checkPair opens ..data once and reads both files below it, and each file by its own path.
func checkPair(folder int) error {
	data, err := syscall.Openat(folder, "..data", syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("..data is missing: %w", err)
	}
	defer func() { _ = syscall.Close(data) }()
	certificate, err := readAt(data, "tls.crt")
	if err != nil {
		return err
	}
	key, err := readAt(data, "sub/tls.key")
	if err != nil {
		return err
	}
	first, _, _ := bytes.Cut(certificate, []byte("\n"))
	number, err := strconv.Atoi(string(first))
	wantCertificate, wantKey := pairOf(number)
	if err != nil || string(certificate) != wantCertificate || string(key) != wantKey {
		return fmt.Errorf("the files are torn or mixed: %d and %d bytes of number %q", len(certificate), len(key), first)
	}
	for _, name := range []string{"tls.crt", "sub/tls.key"} {
		if content, err := readAt(folder, name); err != nil || len(content) == 0 {
			return errors.Join(fmt.Errorf("%s by its own path has %d bytes", name, len(content)), err)
		}
	}
	return nil
}

// TestAKilledSidecarLeavesFilesThatBelongTogether kills the process again and again while it swaps files, and reads them
// all the time.
func TestAKilledSidecarLeavesFilesThatBelongTogether(t *testing.T) {
	const kills = 5 // each restart waits for a second
	volume := memoryDir(t)
	var reads atomic.Int64
	stopped, failure := make(chan struct{}), make(chan error, 1)
	for kill := range kills {
		ctx, cancel := context.WithCancel(t.Context())
		child := exec.CommandContext(ctx, os.Args[0])
		child.Env = append(os.Environ(), "FILESYNC_CHILD="+volume)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		_, err = out.Read(make([]byte, 16))
		require.NoError(t, err)
		if kill == 0 {
			go func() { failure <- readUntil(stopped, filepath.Join(volume, "tls"), &reads) }()
		}
		// Each process is killed at another place of its swaps.
		time.Sleep(100*time.Millisecond + time.Duration(kill)*617*time.Microsecond)
		cancel() // SIGKILL
		var exit *exec.ExitError
		require.True(t, errors.As(child.Wait(), &exit))
		assert.True(t, IsComplete(volume))
	}
	close(stopped)
	require.NoError(t, <-failure)
	assert.Greater(t, reads.Load(), int64(100))
	t.Logf("%d reads of two files during the swaps of %d processes that were killed", reads.Load(), kills)
}

// readUntil checks the files of a directory until it is stopped.
func readUntil(stopped chan struct{}, directory string, reads *atomic.Int64) error {
	folder, err := syscall.Open(directory, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(folder) }()
	for {
		select {
		case <-stopped:
			return nil
		default:
		}
		if err := checkPair(folder); err != nil {
			return err
		}
		reads.Add(1)
	}
}
