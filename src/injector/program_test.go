package injector

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// fakeChecker is a Checker that returns its failures first, and then a replica.
type fakeChecker struct {
	failures   []error
	references []map[string]string
}

func (a *fakeChecker) Check(_ context.Context, references map[string]string) (string, error) {
	a.references = append(a.references, references)
	if len(a.failures) > 0 {
		err := a.failures[0]
		a.failures = a.failures[1:]
		return "", err
	}
	return "10.1.2.3:9443", nil
}

// newInitContainerConfig is the Config of an init container with that environment. Its clock advances when it sleeps.
func newInitContainerConfig(t *testing.T, environ ...string) (c Config, slept *time.Duration) {
	t.Helper()
	slept = new(time.Duration)
	return Config{Environ: environ, Log: slog.New(slog.DiscardHandler),
		Clock:  func() time.Time { return time.Unix(0, 0).Add(*slept) },
		Jitter: func(most time.Duration) time.Duration { return most },
		Sleep: func(_ context.Context, d time.Duration) error {
			*slept += d
			return nil
		}}, slept
}

func TestTheInitContainerAsksForTheReferencesOfThePod(t *testing.T) {
	const references = wire.EnvCheckReferences + `={"app/A":"db@azurekeyvault"}`
	asked := &fakeChecker{failures: []error{fault.New(fault.Unavailable, "away")}}
	checker := func() (Checker, error) { return asked, nil }
	c, slept := newInitContainerConfig(t, references)
	replica, err := c.checkReferences(t.Context(), checker)
	require.NoError(t, err)
	assert.Equal(t, "10.1.2.3:9443", replica)
	want := map[string]string{"app/A": "db@azurekeyvault"}
	assert.Equal(t, []map[string]string{want, want}, asked.references)
	assert.Equal(t, firstMaxWait, *slept)

	c, _ = newInitContainerConfig(t)
	replica, err = c.checkReferences(t.Context(), func() (Checker, error) {
		t.Error("a pod without references needs no auth service")
		return nil, errors.New("no checker")
	})
	require.NoError(t, err)
	assert.Empty(t, replica)
}

func TestAnInitContainerThatCannotAskSaysWhy(t *testing.T) {
	checker := func() (Checker, error) { return nil, fault.New(fault.Invalid, "no CA") }
	for name, c := range map[string]struct {
		environ []string
		says    string
	}{
		"references that are damaged": {[]string{wire.EnvCheckReferences + "=hunter2"}, wire.EnvCheckReferences + " is not a JSON object"},
		"a time that is none":         {[]string{wire.EnvCheckReferences + "={}", wire.EnvTimeout + "=soon"}, wire.EnvTimeout},
		"no way to the auth service":  {[]string{wire.EnvCheckReferences + "={}"}, "no CA"},
	} {
		config, _ := newInitContainerConfig(t, c.environ...)
		_, err := config.checkReferences(t.Context(), checker)
		assert.Equal(t, fault.Invalid, fault.KindOf(err), name)
		assert.ErrorContains(t, err, c.says, name)
		assert.NotContains(t, err.Error(), "hunter2")
	}
}

func TestTheWaitsOfAnInitContainerAreLongerAndEnd(t *testing.T) {
	config, slept := newInitContainerConfig(t, wire.EnvCheckReferences+"={}", wire.EnvTimeout+"=5m")
	var longest time.Duration
	config.Jitter = func(most time.Duration) time.Duration {
		longest = max(longest, most)
		return most
	}
	asked := &fakeChecker{}
	for range 1000 {
		asked.failures = append(asked.failures, fault.New(fault.Unavailable, "away"))
	}
	_, err := config.checkReferences(t.Context(), func() (Checker, error) { return asked, nil })
	assert.Equal(t, fault.Unavailable, fault.KindOf(err))
	assert.Equal(t, 5*time.Minute, *slept)
	assert.Equal(t, initContainerMaxWait, longest)
}

func TestASettingThatTheWebhookDidNotSeeIsRefused(t *testing.T) {
	for text, refused := range map[string]bool{
		"": false, "false": false, "0": false, "true": true, "1": true, "yes": true, " ": true,
	} {
		assert.Equal(t, refused, checkDisableSetting(text) != nil, "%q", text)
	}
}

func TestEachContainerAsksWhomTheWebhookChose(t *testing.T) {
	direct := &emptyResolver{}
	for name, c := range map[string]struct {
		environ map[string]string
		direct  bool
		says    string
	}{
		"the pod itself":                    {map[string]string{wire.EnvUseAuthService: "false"}, true, ""},
		"the pod itself, which is not able": {map[string]string{wire.EnvUseAuthService: "false"}, false, "recreate the pod"},
		"the auth service":                  {map[string]string{wire.EnvUseAuthService: "true"}, true, wire.EnvCA},
		"the auth service, unsaid":          {nil, true, wire.EnvCA},
		"what its owner forbids":            {map[string]string{wire.EnvDisableAuthService: "true"}, true, wire.EnvDisableAuthService},
	} {
		t.Run(name, func(t *testing.T) {
			p := Program{}
			if c.direct {
				p.NewDirectResolver = func(func(string) string) (Resolver, error) { return direct, nil }
			}
			got, err := p.newResolver(func(name string) string { return c.environ[name] })
			if c.says == "" {
				require.NoError(t, err)
				assert.Same(t, direct, got)
				return
			}
			assert.ErrorContains(t, err, c.says, "never another than that one")
		})
	}
}

func TestAContainerThatReadsItselfGetsTheOtherInjectorOfAnImageVolume(t *testing.T) {
	readsItself := []string{wire.EnvUseAuthService + "=false", wire.EnvAddedVariables + "=" + wire.EnvUseAuthService, "A=b"}
	direct := func(func(string) string) (Resolver, error) { return &emptyResolver{}, nil }
	for name, c := range map[string]struct {
		environ []string
		able    bool
		execs   bool
	}{
		"one that reads itself":                     {readsItself, false, true},
		"one that reads itself, in the other":       {readsItself, true, false},
		"one with the auth service":                 {[]string{wire.EnvUseAuthService + "=true", wire.EnvAddedVariables + "=" + wire.EnvUseAuthService}, false, false},
		"one whose image says that it reads itself": {[]string{wire.EnvUseAuthService + "=false"}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			var called []string
			p := Program{Args: []string{wire.InjectorPath, "app", "-x"}, Environ: c.environ, Stderr: io.Discard,
				Exec: func(path string, argv, environ []string) error {
					called = append(called, path)
					if path == wire.DirectInjectorPath {
						assert.Equal(t, []string{wire.InjectorPath, "app", "-x"}, argv, "it is the injector by its name")
						assert.Equal(t, c.environ, environ)
					}
					return errors.New("no such file")
				}}
			if c.able {
				p.NewDirectResolver = direct
			}
			assert.NotZero(t, p.Run(t.Context()))
			assert.Equal(t, c.execs, slices.Contains(called, wire.DirectInjectorPath))
		})
	}
}

// emptyResolver is a Resolver without values.
type emptyResolver struct{ Resolver }

func TestCommandsAreThoseOfTheImageAlone(t *testing.T) {
	var out, complaints bytes.Buffer
	run := func(p Program, args ...string) int {
		out.Reset()
		complaints.Reset()
		p.Args, p.Stdout, p.Stderr = args, &out, &complaints
		return p.Run(t.Context())
	}
	assert.Zero(t, run(Program{}, "/bin/azure-keyvault-env", "version"))
	assert.NotEmpty(t, out.String())
	trust := func(w io.Writer) error {
		_, err := io.WriteString(w, "authorities")
		return err
	}
	assert.Zero(t, run(Program{PrintTrustedCAs: trust}, "/bin/azure-keyvault-env", "trust"))
	assert.Equal(t, "authorities", out.String())
	for _, args := range [][]string{
		nil, {"x"}, {"x", "trust"}, {"x", "copy"}, {"x", "version", "more"}, {"x", "copy", "a", "b"}, {"x", "x", "y"},
	} {
		assert.Equal(t, exitUsage, run(Program{}, args...), "%q", args)
		assert.Empty(t, out.String())
		assert.Contains(t, complaints.String(), "usage:")
		assert.NotContains(t, complaints.String(), "trust ")
	}
	assert.Equal(t, exitUsage, run(Program{PrintTrustedCAs: trust}, "x"))
	assert.Contains(t, complaints.String(), "trust ")
	assert.Equal(t, exitUsage, run(Program{PrintTrustedCAs: func(io.Writer) error { return errors.New("no store") }}, "x", "trust"))
	assert.Contains(t, complaints.String(), "no store")
}

func TestWhatTheInitContainerBringsIsWholeAlsoWhenItIsRestarted(t *testing.T) {
	message := filepath.Join(t.TempDir(), "message")
	require.NoError(t, os.WriteFile(message, nil, 0o600))
	prepare := func(folder string, environ ...string) int {
		p := Program{Environ: append(environ, wire.EnvTerminationLog+"="+message), Stderr: io.Discard,
			Args: []string{"x", "copy", folder}}
		return p.Run(t.Context())
	}
	folder := t.TempDir()
	for range 2 {
		require.Zero(t, prepare(folder))
	}
	program := filepath.Join(folder, filepath.Base(wire.InjectorPath))
	info, err := os.Stat(program)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o755), info.Mode(), "any user may run it")
	self, err := os.Executable()
	require.NoError(t, err)
	original, err := os.Stat(self)
	require.NoError(t, err)
	assert.Equal(t, original.Size(), info.Size())
	linked, err := os.Readlink(filepath.Join(folder, filepath.Base(wire.HasStartedPath)))
	require.NoError(t, err)
	assert.Equal(t, filepath.Base(program), linked)
	assert.NoFileExists(t, program+".partial")

	assert.Equal(t, fault.Invalid.ExitCode(), prepare(folder, wire.EnvCheckReferences+"=damaged"), "the pod can't have its values")
	said, err := os.ReadFile(message)
	require.NoError(t, err)
	assert.Contains(t, string(said), wire.EnvCheckReferences)
	assert.Equal(t, exitUsage, prepare(filepath.Join(folder, "missing")))
	said, err = os.ReadFile(message)
	require.NoError(t, err)
	assert.Contains(t, string(said), "copying the program")
	assert.Error(t, linkProgram(program, filepath.Join(folder, "missing", "name")))
}

func TestAProgramIsFoundAsTheRuntimeWouldFindIt(t *testing.T) {
	root := t.TempDir()
	in := func(folder string) string { return filepath.Join(root, folder) }
	for _, folder := range []string{"folder/app", "plain", "good", "later"} {
		require.NoError(t, os.MkdirAll(in(folder), 0o700))
	}
	require.NoError(t, os.WriteFile(in("plain/app"), nil, 0o600))
	require.NoError(t, os.WriteFile(in("good/app"), nil, 0o700))
	require.NoError(t, os.WriteFile(in("later/app"), nil, 0o700))
	path := in("missing") + ":" + in("folder") + ":" + in("plain") + ":" + in("good") + ":" + in("later")
	found, err := lookPath("app", path)
	require.NoError(t, err)
	assert.Equal(t, in("good/app"), found)
	_, err = lookPath("app", in("folder")+":"+in("plain"))
	require.ErrorIs(t, err, os.ErrNotExist)
	found, err = lookPath("./app", path)
	require.NoError(t, err)
	assert.Equal(t, "./app", found, "a path is what it is")
	_, err = lookPath("sh", "")
	assert.NoError(t, err, "without PATH there are the usual folders")
}

func TestAReplicaIsReadFromAFileAlone(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "auth-service")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	read := make(chan string, 1)
	go func() { read <- readReplica(pipe, time.Now()) }()
	select {
	case replica := <-read:
		assert.Empty(t, replica)
	case <-time.After(time.Minute):
		t.Error("a container would wait for somebody to write into the pipe")
	}
}

func TestLogsHaveTheLevelAndFormOfTheSettings(t *testing.T) {
	for level, debug := range map[string]bool{"": false, "info": false, "nonsense": false, "debug": true, "trace": true} {
		assert.Equal(t, debug, newLogger(io.Discard, level, "").Enabled(t.Context(), slog.LevelDebug), level)
	}
	var out bytes.Buffer
	newLogger(&out, "", "json").Info("a line")
	newLogger(&out, "", "text").Info("another")
	assert.Regexp(t, `^\{.*"msg":"a line"\}\n.*msg=another\n$`, out.String())
}

func TestAServerThatAsksForLongIsNotObeyedForLonger(t *testing.T) {
	assert.Zero(t, randomJitter(0))
	assert.Zero(t, randomJitter(-time.Second))
	assert.Less(t, randomJitter(time.Second), time.Second)
	p := retryPolicy{nextMaxWait: firstMaxWait, maxWait: containerMaxWait}
	wait, again := p.nextOutageWait(24*time.Hour, 48*time.Hour, randomJitter)
	assert.True(t, again)
	assert.LessOrEqual(t, wait, limits.InjectorRetryAfter+firstMaxWait)
}

func TestAContextThatEndsEndsASleep(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, sleepContext(ctx, time.Hour), context.Canceled)
	assert.NoError(t, sleepContext(t.Context(), 0))
}
