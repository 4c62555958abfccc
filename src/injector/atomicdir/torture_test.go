package atomicdir_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/injector/atomicdir"
)

func fdOf(f *os.File) string { return strconv.Itoa(int(f.Fd())) }

// pair are two files that belong together, of different sizes.
func pair(number int) map[string]atomicdir.File {
	line := fmt.Sprintf("%d\n", number)
	return map[string]atomicdir.File{
		"tls.crt":     {Content: bytes.Repeat([]byte(line), 40+number%60), Mode: 0o444},
		"sub/tls.key": {Content: bytes.Repeat([]byte(line), 30+number%90), Mode: 0o444},
	}
}

// numberOf returns the number in a file of pair, and an error if the file is torn.
func numberOf(name string, content []byte) (int, error) {
	first, _, _ := bytes.Cut(content, []byte("\n"))
	number, err := strconv.Atoi(string(first))
	if err != nil || !bytes.Equal(content, pair(number)[name].Content) {
		return 0, fmt.Errorf("%s is torn: %d bytes that begin with %q", name, len(content), first)
	}
	return number, nil
}

// readAt reads a file below an open directory, with one system call to open it.
func readAt(folder int, name string, buffer []byte) ([]byte, error) {
	fd, err := syscall.Openat(folder, name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s is missing: %w", name, err)
	}
	defer func() { _ = syscall.Close(fd) }()
	size := 0
	for {
		n, err := syscall.Read(fd, buffer[size:])
		if err != nil || n == 0 {
			return buffer[:size], err
		}
		size += n
	}
}

// readTogether opens ..data once and reads both files below it, as programs do that watch a directory.
func readTogether(volume int, buffer []byte) error {
	data, err := syscall.Openat(volume, "..data", syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("..data is missing: %w", err)
	}
	defer func() { _ = syscall.Close(data) }()
	var numbers [2]int
	for i, name := range []string{"tls.crt", "sub/tls.key"} {
		content, err := readAt(data, name, buffer)
		if err != nil {
			return err
		}
		if numbers[i], err = numberOf(name, content); err != nil {
			return err
		}
	}
	if numbers[0] != numbers[1] {
		return fmt.Errorf("the files are mixed: %d and %d", numbers[0], numbers[1])
	}
	return nil
}

// readApart reads each file by its own path.
func readApart(volume int, buffer []byte) error {
	for _, name := range []string{"tls.crt", "sub/tls.key"} {
		content, err := readAt(volume, name, buffer)
		if err != nil {
			return err
		}
		if _, err := numberOf(name, content); err != nil {
			return err
		}
	}
	return nil
}

// tortureSize is the number of read pairs in each mode, and of swaps.
func tortureSize(t *testing.T) (pairs, swaps int64) {
	if raceEnabled || testing.Short() {
		t.Log("a twentieth of the reads and swaps, because of -race or -short")
		return 12_500, 50
	}
	return 250_000, 1000
}

// TestAMillionReadsDuringAThousandSwaps reads two files that belong together 500,000 times in each of two ways.
func TestAMillionReadsDuringAThousandSwaps(t *testing.T) {
	pairs, swaps := tortureSize(t)
	path := memoryDir(t)
	dir := open(t, path)
	_, err := dir.Write(pair(0))
	require.NoError(t, err)

	var done atomic.Int64 // pairs in both modes
	var readers sync.WaitGroup
	failures := make(chan error, 2)
	for _, read := range []func(int, []byte) error{readTogether, readApart} {
		readers.Go(func() {
			volume, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
			if err != nil {
				failures <- err
				return
			}
			defer func() { _ = syscall.Close(volume) }()
			buffer := make([]byte, 4096)
			for range pairs {
				if err := read(volume, buffer); err != nil {
					failures <- err
					return
				}
				done.Add(1)
			}
		})
	}
	finished := make(chan struct{})
	go func() { readers.Wait(); close(finished) }()
	for number := int64(1); number <= swaps; number++ {
		// Swaps are spread over the reads.
		for done.Load() < 2*pairs*(number-1)/swaps && len(failures) == 0 {
			time.Sleep(50 * time.Microsecond)
		}
		changed, err := dir.Write(pair(int(number)))
		require.NoError(t, err)
		require.True(t, changed)
	}
	<-finished
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	var usage syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	t.Logf("%d reads during %d swaps; the process has used %s of user and %s of system time", 2*done.Load(), swaps,
		time.Duration(usage.Utime.Nano()), time.Duration(usage.Stime.Nano()))
	time.Sleep(atomicdir.GracePeriod)
	require.NoError(t, dir.Clean())
	assert.Len(t, hidden(t, path), 2, "the old directories are removed")
}

// TestMain runs the tests, or the child process of TestAKilledWriterLeavesOneOfTwoStates.
func TestMain(m *testing.M) {
	if path := os.Getenv("ATOMICDIR_CHILD"); path != "" {
		fmt.Fprintln(os.Stderr, writePairs(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writePairs writes pairs until the process is killed, or returns an error.
func writePairs(path string) error {
	dir, err := atomicdir.Open(path)
	if err != nil {
		return err
	}
	fmt.Println("ready") // the parent process waits for this line before it kills this one
	for number := 0; ; number++ {
		contents := pair(number)
		if number%2 == 0 { // names come and go, too
			contents["even"] = atomicdir.File{Content: []byte("even"), Mode: 0o400}
		}
		if _, err := dir.Write(contents); err != nil {
			return err
		}
	}
}

func TestAKilledWriterLeavesOneOfTwoStates(t *testing.T) {
	path := memoryDir(t)
	kills := 20
	if testing.Short() || raceEnabled {
		t.Log("5 kills instead of 20, because of -race or -short")
		kills = 5
	}
	for kill := range kills {
		ctx, cancel := context.WithCancel(t.Context())
		child := exec.CommandContext(ctx, os.Args[0])
		child.Env = append(os.Environ(), "ATOMICDIR_CHILD="+path)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		_, err = out.Read(make([]byte, 16))
		require.NoError(t, err)
		time.Sleep(time.Duration(kill)*617*time.Microsecond + time.Millisecond)
		cancel() // SIGKILL
		var exit *exec.ExitError
		require.True(t, errors.As(child.Wait(), &exit))

		volume, err := os.Open(path)
		require.NoError(t, err)
		if _, err := os.Lstat(filepath.Join(path, "..data")); err == nil {
			require.NoError(t, readTogether(int(volume.Fd()), make([]byte, 4096)), "complete, old or new")
		}
		require.NoError(t, volume.Close())
		dir := open(t, path)
		_, err = dir.Write(pair(kill))
		require.NoError(t, err)
		assert.Len(t, seen(t, path), 2)
		time.Sleep(atomicdir.GracePeriod / 20)
		_, err = open(t, path).Write(pair(kill))
		require.NoError(t, err)
		assert.Len(t, hidden(t, path), 2, "what the killed writer left is removed")
	}
}

// TestTheNextWriteCompletesEachStep has the state after each step of a writer that was killed.
func TestTheNextWriteCompletesEachStep(t *testing.T) {
	const next = "..2026_11_29_20_40_28.ABCDEF"
	old, fresh := map[string]string{"a": "old", "gone": "x"}, map[string]string{"a": "new", "added": "y"}
	steps := []struct {
		name string
		do   func(t *testing.T, in func(string) string)
	}{
		{"an empty generation", func(t *testing.T, in func(string) string) { require.NoError(t, os.Mkdir(in(next), 0o700)) }},
		{"an incomplete file", func(t *testing.T, in func(string) string) {
			require.NoError(t, os.WriteFile(in(next+"/a"), []byte("n"), 0o600))
		}},
		{"a complete generation", func(t *testing.T, in func(string) string) {
			require.NoError(t, os.WriteFile(in(next+"/a"), []byte("new"), 0o644))
			require.NoError(t, os.WriteFile(in(next+"/added"), []byte("y"), 0o644))
			require.NoError(t, os.Chmod(in(next+"/a"), 0o644))
			require.NoError(t, os.Chmod(in(next), 0o755))
		}},
		{"a link to be renamed", func(t *testing.T, in func(string) string) {
			require.NoError(t, os.Symlink("..data/added", in("..link_tmp")))
		}},
		{"a link of a new file", func(t *testing.T, in func(string) string) {
			require.NoError(t, os.Rename(in("..link_tmp"), in("added")))
		}},
		{"a link to the generation", func(t *testing.T, in func(string) string) {
			require.NoError(t, os.Symlink(next, in("..data_tmp")))
		}},
		{"the switch", func(t *testing.T, in func(string) string) {
			require.NoError(t, os.Rename(in("..data_tmp"), in("..data")))
		}},
		{"one link removed", func(t *testing.T, in func(string) string) { require.NoError(t, os.Remove(in("gone"))) }},
	}
	for last := range steps {
		for what, contents := range map[string]map[string]string{"again": fresh, "back": old} {
			t.Run(steps[last].name+", "+what, func(t *testing.T) {
				path := memoryDir(t)
				write(t, open(t, path), old)
				for _, step := range steps[:last+1] {
					step.do(t, func(name string) string { return filepath.Join(path, name) })
				}
				write(t, open(t, path), contents)
				assert.Equal(t, contents, seen(t, path))
				write(t, open(t, path), contents)
				assert.Len(t, hidden(t, path), 2)
			})
		}
	}
}
