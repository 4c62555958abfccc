package injector_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/injector"
)

const canary = "canary-value-9"

// fixture is an injector that records the program instead of replacing the process.
type fixture struct {
	*testing.T
	config  injector.Config
	answers []error // the errors of the first requests; later ones get values
	asked   []map[string]string
	values  map[string][]byte
	slept   []time.Duration
	path    string
	args    []string
	environ []string
	log     bytes.Buffer
	now     time.Time
	// message is the termination message.
	message string
}

func (b *fixture) Resolve(_ context.Context, references map[string]string) (map[string][]byte, error) {
	b.asked = append(b.asked, references)
	if len(b.answers) > 0 {
		err := b.answers[0]
		b.answers = b.answers[1:]
		return nil, err
	}
	return b.values, nil
}

var errExec = errors.New("exec was called")

func newFixture(t *testing.T, environ ...string) *fixture {
	t.Helper()
	b := &fixture{T: t, values: map[string][]byte{"A": []byte(canary)}}
	b.config = injector.Config{
		Args: []string{"app", "--flag"}, Environ: append([]string{"PATH=/bin", "PLAIN=x=y"}, environ...),
		NewResolver: func() (injector.Resolver, error) { return b, nil },
		LookPath:    func(program, path string) (string, error) { return path + "/" + program, nil },
		Exec: func(path string, args, environ []string) error {
			b.path, b.args, b.environ = path, args, environ
			return errExec
		},
		Sleep: func(ctx context.Context, d time.Duration) error {
			b.slept = append(b.slept, d)
			b.now = b.now.Add(d)
			return ctx.Err()
		},
		Clock:                   func() time.Time { return b.now },
		Jitter:                  func(most time.Duration) time.Duration { return most },
		WriteTerminationMessage: func(message string) { b.message = message },
		Log:                     slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	return b
}

func (b *fixture) run() int {
	b.Helper()
	code := injector.Run(b.Context(), b.config)
	assert.NotContains(b, b.log.String(), canary)
	assert.NotContains(b, b.message, canary)
	return code
}

func TestTheProgramGetsValuesAndNothingOfOurs(t *testing.T) {
	b := newFixture(t, "A=db@azurekeyvault", "EMPTY=", "ENV_INJECTOR_CA=x", "ENV_INJECTOR_LOG_LEVEL=debug", "AZURE_CLIENT_ID=kept",
		"ENV_INJECTOR_ADDED=ENV_INJECTOR_CA,ENV_INJECTOR_ADDED")
	b.run()
	assert.Equal(t, "/bin/app", b.path)
	assert.Equal(t, []string{"app", "--flag"}, b.args)
	assert.Equal(t, []string{"PATH=/bin", "PLAIN=x=y", "A=" + canary, "EMPTY=", "ENV_INJECTOR_LOG_LEVEL=debug", "AZURE_CLIENT_ID=kept"}, b.environ)
	assert.Equal(t, []map[string]string{{"A": "db@azurekeyvault"}}, b.asked)
}

func TestWithoutReferencesNobodyIsAsked(t *testing.T) {
	b := newFixture(t)
	b.config.NewResolver = func() (injector.Resolver, error) { t.Error("no resolver is needed"); return nil, nil }
	b.run()
	assert.Equal(t, []string{"PATH=/bin", "PLAIN=x=y"}, b.environ)
}

func TestPATHMayBeAReferenceToo(t *testing.T) {
	b := newFixture(t)
	b.config.Environ = []string{"PATH=p@azurekeyvault"}
	b.values = map[string][]byte{"PATH": []byte("/vault")}
	b.run()
	assert.Equal(t, "/vault/app", b.path)
}

func TestNothingStartsWithARawReference(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		answer  error
		code    int
		says    string
	}{
		"malformed":     {[]string{"A=hunter2 @azurekeyvault"}, nil, 64, "variable A"},
		"invalid":       {[]string{"A=a@azurekeyvault"}, fault.New(fault.Invalid, "fix the spec"), 64, "fix the spec"},
		"malformed one": {[]string{"A=a@azurekeyvault"}, fault.New(fault.Malformed, "no JSON"), 65, "no JSON"},
		"not found":     {[]string{"A=a@azurekeyvault"}, fault.New(fault.NotFound, "create it"), 66, "create it"},
		"denied":        {[]string{"A=a@azurekeyvault"}, fault.New(fault.Denied, "grant it"), 77, "grant it"},
		"away":          {[]string{"A=a@azurekeyvault", "ENV_INJECTOR_TIMEOUT=0s"}, fault.New(fault.Unavailable, "away"), 75, "away"},
		"a bug":         {[]string{"A=a@azurekeyvault"}, errors.New("surprise"), 70, "surprise"},
		"bad timeout":   {[]string{"A=a@azurekeyvault", "ENV_INJECTOR_TIMEOUT=soon"}, nil, 64, "ENV_INJECTOR_TIMEOUT"},
		"bad retries":   {[]string{"A=a@azurekeyvault", "ENV_INJECTOR_RETRIES=-1"}, nil, 64, "ENV_INJECTOR_RETRIES"},
		"negative time": {[]string{"A=a@azurekeyvault", "ENV_INJECTOR_TIMEOUT=-1s"}, nil, 64, "ENV_INJECTOR_TIMEOUT"},
		"no number":     {[]string{"A=a@azurekeyvault", "ENV_INJECTOR_RETRIES=many"}, nil, 64, "ENV_INJECTOR_RETRIES"},
		"negative wait": {[]string{"A=a@azurekeyvault", "ENV_INJECTOR_WAIT_BEFORE_RETRY=-1"}, nil, 64,
			"ENV_INJECTOR_WAIT_BEFORE_RETRY"},
		"bad wait": {[]string{"A=a@azurekeyvault", "ENV_INJECTOR_WAIT_BEFORE_RETRY=1s"}, nil, 64, "ENV_INJECTOR_WAIT_BEFORE_RETRY"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFixture(t, c.environ...)
			if c.answer != nil {
				b.answers = []error{c.answer}
			}
			assert.Equal(t, c.code, b.run())
			assert.Empty(t, b.path, "the program was not started")
			assert.Empty(t, b.slept, "nothing is waited for that only somebody can mend")
			for _, text := range []string{b.log.String(), b.message} {
				assert.Contains(t, text, c.says)
				assert.NotContains(t, text, "hunter2")
			}
		})
	}
}

func TestWhatCannotBeStarted(t *testing.T) {
	b := newFixture(t)
	b.config.LookPath = func(string, string) (string, error) { return "", fs.ErrNotExist }
	assert.Equal(t, 127, b.run())
	assert.Contains(t, b.message, "starting the program app: no such file")
	b = newFixture(t)
	b.config.Exec = func(string, []string, []string) error { return fs.ErrPermission }
	assert.Equal(t, 126, b.run())
	assert.Contains(t, b.message, "may execute")
	b = newFixture(t)
	b.config.Exec = func(string, []string, []string) error { return syscall.ENOEXEC }
	assert.Equal(t, 126, b.run())
	assert.Contains(t, b.message, "another processor")
	b = newFixture(t)
	b.config.Args = nil
	assert.Equal(t, 64, b.run())
	b = newFixture(t, "A=a@azurekeyvault")
	b.config.NewResolver = func() (injector.Resolver, error) { return nil, fault.New(fault.Invalid, "no CA") }
	assert.Equal(t, 64, b.run())
	b = newFixture(t, "A=a@azurekeyvault")
	b.values = map[string][]byte{"A": []byte(canary + "\x00")}
	require.Equal(t, 65, b.run())
	assert.Empty(t, b.path)
}

func TestAContainerThatIsStoppedStartsNoProgram(t *testing.T) {
	b := newFixture(t, "A=a@azurekeyvault")
	ctx, stop := context.WithCancel(t.Context())
	b.config.NewResolver = func() (injector.Resolver, error) {
		stop()
		return b, nil
	}
	assert.Equal(t, 75, injector.Run(ctx, b.config))
	assert.Empty(t, b.path)
}

func TestWhatTheKubeletWouldHaveExpandedIsExpandedWithTheValues(t *testing.T) {
	b := newFixture(t, "A=db@azurekeyvault", "HOST=h$$x", "URL=u:$(A)@$(HOST)/$$x/$$(LATER)", "COPY=$(URL)$(NONE)", "TEXT=$(A)", `ENV_INJECTOR_EXPAND={"args":[-1,1,9],"env":["URL","COPY","GONE"]}`,
		`ENV_INJECTOR_REFERENCES={"X":"x@azurekeyvault?y"}`, `ENV_INJECTOR_IMAGE_REFERENCES={"X":"x@azurekeyvault?y"}`, "ENV_INJECTOR_ADDED=ENV_INJECTOR_EXPAND,ENV_INJECTOR_REFERENCES,ENV_INJECTOR_IMAGE_REFERENCES,ENV_INJECTOR_ADDED")
	b.config.Args = []string{"app", "--url=$(URL) $$5", "$(A)"}
	b.values["A"] = []byte(canary + "$(HOST)$$")
	b.run()
	url := "u:" + canary + "$(HOST)$$@h$$x/$x/$(LATER)"
	assert.Equal(t, []string{"PATH=/bin", "PLAIN=x=y", "A=" + canary + "$(HOST)$$", "HOST=h$$x", "URL=" + url, "COPY=" + url + "$(NONE)", "TEXT=$(A)"}, b.environ,
		"values keep every byte, and what nobody named is text")
	assert.Equal(t, []string{"app", "--url=" + url + " $5", "$(A)"}, b.args)
	assert.Equal(t, []string{"app", "--url=$(URL) $$5", "$(A)"}, b.config.Args)
	assert.Equal(t, []map[string]string{{"A": "db@azurekeyvault"}}, b.asked, "the record is no reference of the program's")
}

func TestReservedVariablesOfTheImageAreNotTakenForOurs(t *testing.T) {
	assert.Equal(t, []string{"ENV_INJECTOR_ADDED=ENV_INJECTOR_CA,ENV_INJECTOR_ADDED", "ENV_INJECTOR_CA=ca", "ENV_INJECTOR_TIMEOUT=5s", "A=a@azurekeyvault"},
		injector.RemoveForeignReserved([]string{"ENV_INJECTOR_ADDED=ENV_INJECTOR_CA,ENV_INJECTOR_ADDED", "ENV_INJECTOR_CA=ca", "ENV_INJECTOR_USE_AUTH_SERVICE=false", "ENV_INJECTOR_EXPAND=x",
			"ENV_INJECTOR_TIMEOUT=5s", "ENV_INJECTOR_AUTH_SERVICE_ADDRESS=10.0.0.66:1", "A=a@azurekeyvault"}))
}

func TestAnAdditionalProcessHasItsOwnArgumentsAndLeavesTheTerminationMessage(t *testing.T) {
	expansion := `ENV_INJECTOR_EXPAND={"args":[1]}`
	for additional, want := range map[bool]string{false: canary, true: "$(A)"} {
		b := newFixture(t, "A=a@azurekeyvault", expansion)
		b.config.Args, b.config.IsAdditional = []string{"app", "$(A)"}, additional
		injector.Run(t.Context(), b.config)
		require.Len(t, b.args, 2)
		assert.Equal(t, want, b.args[1], "additional: %v", additional)
		assert.Equal(t, additional, b.message == "", "%q", b.message)
	}
}
