package injector

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/broker/client"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// sourceFunc is a FileSource of a program that reads vaults itself.
type sourceFunc func(ctx context.Context, etag string) (client.FilesAnswer, error)

func (f sourceFunc) Files(ctx context.Context, etag string) (client.FilesAnswer, error) {
	return f(ctx, etag)
}

// onePassword has one file, and is requested once.
func onePassword(context.Context, string) (client.FilesAnswer, error) {
	return client.FilesAnswer{Directories: map[string]map[string]wire.FileContent{"app": {"password": {Content: []byte("hunter2"), Mode: 0o400}}}}, nil
}

// filesContainer is a container with a volume of its own.
type filesContainer struct {
	*testing.T
	volume, message string
	environ         []string
	source          sourceFunc
	log             bytes.Buffer
}

func newFilesContainer(t *testing.T, source sourceFunc, environ ...string) *filesContainer {
	t.Helper()
	c := &filesContainer{T: t, volume: t.TempDir(), message: filepath.Join(t.TempDir(), "message"), source: source}
	require.NoError(t, os.WriteFile(c.message, nil, 0o600))
	c.environ = append([]string{wire.EnvUseAuthService + "=false", wire.EnvFiles + `={"directories":{"app":[{"path":"password","from":"db@azurekeyvault","mode":256}]}}`,
		wire.EnvTerminationLog + "=" + c.message, wire.EnvDefaultTimeout + "=300ms"}, environ...)
	return c
}

// run runs a command of the image until the context ends or it ends by itself.
func (c *filesContainer) run(ctx context.Context, command string) int {
	p := Program{Args: []string{"/bin/azure-keyvault-env", command, c.volume}, Environ: c.environ, Stderr: &c.log, Stdout: &c.log}
	if c.source != nil {
		p.NewDirectFileSource = func(get func(string) string) (FileSource, error) {
			assert.Equal(c, "false", get(wire.EnvUseAuthService))
			return c.source, nil
		}
	}
	return p.Run(ctx)
}

func (c *filesContainer) password() string {
	content, _ := os.ReadFile(filepath.Join(c.volume, "app", "password"))
	return string(content)
}

func (c *filesContainer) terminationMessage() string {
	content, err := os.ReadFile(c.message)
	require.NoError(c, err)
	return string(content)
}

func TestTheInitContainerWritesTheFilesOnce(t *testing.T) {
	c := newFilesContainer(t, onePassword)
	assert.Equal(t, exitUsage, c.run(t.Context(), "check-files"))
	assert.Contains(t, c.log.String(), wire.FilesContainer)
	require.Zero(t, c.run(t.Context(), "write-files"))
	assert.Equal(t, "hunter2", c.password())
	assert.Zero(t, c.run(t.Context(), "check-files"))
	assert.NotContains(t, c.log.String(), "hunter2")
	assert.Empty(t, c.terminationMessage())
}

func TestTheSidecarStaysUntilItIsStopped(t *testing.T) {
	var requests atomic.Int32
	c := newFilesContainer(t, func(ctx context.Context, etag string) (client.FilesAnswer, error) {
		requests.Add(1)
		return onePassword(ctx, etag)
	})
	for range 2 { // the second is a restart
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan int, 1)
		before := requests.Load()
		go func() { done <- c.run(ctx, "sync-files") }()
		require.Eventually(t, func() bool { return requests.Load() > before && c.run(t.Context(), "check-files") == 0 }, 8*time.Second, 10*time.Millisecond)
		cancel()
		select {
		case code := <-done:
			assert.Zero(t, code)
		case <-time.After(5 * time.Second):
			t.Fatal("it did not stop")
		}
	}
	assert.Equal(t, "hunter2", c.password())
}

func TestASidecarWithoutItsFirstFilesEndsWithTheReason(t *testing.T) {
	for _, command := range []string{"sync-files", "write-files"} {
		for kind, attempts := range map[fault.Kind]bool{fault.Unavailable: true, fault.Denied: false, fault.Invalid: false} {
			requests := 0
			c := newFilesContainer(t, func(context.Context, string) (client.FilesAnswer, error) {
				requests++
				return client.FilesAnswer{}, fault.New(kind, "for a reason")
			})
			assert.Equal(t, kind.ExitCode(), c.run(t.Context(), command))
			assert.Equal(t, kind.Reason()+": for a reason", c.terminationMessage())
			assert.Equal(t, attempts, requests > 1, "%s: %d requests", kind, requests)
			assert.Equal(t, exitUsage, c.run(t.Context(), "check-files"))
		}
	}
}

func TestAResourceThatIsCreatedAfterThePodIsWaitedFor(t *testing.T) {
	requests := 0
	c := newFilesContainer(t, func(ctx context.Context, etag string) (client.FilesAnswer, error) {
		if requests++; requests < 3 {
			return client.FilesAnswer{}, &fault.Error{Kind: fault.NotFound, Operation: "absent", CanAppearLater: true}
		}
		return onePassword(ctx, etag)
	}, wire.EnvTimeout+"=1m")
	assert.Zero(t, c.run(t.Context(), "write-files"))
	assert.Equal(t, 3, requests)
}

func TestStoppedBeforeTheFirstFiles(t *testing.T) {
	for command, want := range map[string]int{"sync-files": 0, "write-files": fault.Unavailable.ExitCode()} {
		ctx, cancel := context.WithCancel(t.Context())
		c := newFilesContainer(t, func(context.Context, string) (client.FilesAnswer, error) {
			cancel()
			return client.FilesAnswer{}, fault.New(fault.Unavailable, "away")
		}, wire.EnvTimeout+"=1m")
		assert.Equal(t, want, c.run(ctx, command), command)
	}
}

func TestAFilesContainerThatIsSetUpWronglySaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		setting string
		says    string
	}{
		"no files":                {wire.EnvFiles + "=", wire.EnvFiles},
		"a call that is not ours": {wire.EnvFiles + `={"directories":{"a":[]},"onChange":"http://example.com/"}`, wire.AnnotationOnChange},
		"a time that is none":     {wire.EnvTimeout + "=soon", wire.EnvTimeout},
		"no auth service":         {wire.EnvUseAuthService + "=true", wire.EnvCA},
	} {
		t.Run(name, func(t *testing.T) {
			for _, command := range []string{"sync-files", "write-files"} {
				container := newFilesContainer(t, onePassword)
				container.environ = append([]string{c.setting}, container.environ...)
				assert.Equal(t, fault.Invalid.ExitCode(), container.run(t.Context(), command))
				assert.Contains(t, container.terminationMessage(), c.says)
			}
		})
	}
	c := newFilesContainer(t, nil)
	assert.Equal(t, fault.Invalid.ExitCode(), c.run(t.Context(), "sync-files"))
	assert.Contains(t, c.terminationMessage(), "can only use the auth service")
}
