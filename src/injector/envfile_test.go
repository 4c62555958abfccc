package injector

import (
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// recordingResolver answers with values by variable, and keeps the requests.
type recordingResolver struct {
	values   map[string]string
	requests []map[string]string
	failures []error
}

func (r *recordingResolver) Resolve(_ context.Context, references map[string]string) (map[string][]byte, error) {
	r.requests = append(r.requests, references)
	if len(r.failures) > 0 {
		err := r.failures[0]
		r.failures = r.failures[1:]
		return nil, err
	}
	values := map[string][]byte{}
	for name := range references {
		values[name] = []byte(r.values[name])
	}
	return values, nil
}

func TestEnvFilesAreWrittenForEachContainer(t *testing.T) {
	c, slept := newInitContainerConfig(t, wire.EnvReferences+`={"app/A":"a@azurekeyvault","app/B":"b@azurekeyvault?x","migrate/A":"a@azurekeyvault"}`)
	r := &recordingResolver{failures: []error{fault.New(fault.Unavailable, "away")},
		values: map[string]string{"app/A": "one", "app/B": "two\nlines # no comment\n", "migrate/A": `back\slash $HOME "quoted"`}}
	c.NewResolver = func() (Resolver, error) { return r, nil }
	files, err := c.resolveEnvFiles(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"app.env", "migrate.env"}, slices.Sorted(maps.Keys(files)))
	assert.Equal(t, "A='one'\nB='two\nlines # no comment\n'\n", string(files["app.env"]))
	assert.Equal(t, "A='back\\slash $HOME \"quoted\"'\n", string(files["migrate.env"]))
	assert.Equal(t, map[string]string{"migrate/A": "a@azurekeyvault"}, r.requests[2], "one request for each container")
	assert.Len(t, r.requests, 3)
	assert.Equal(t, firstMaxWait, *slept)
}

func TestAValueThatAnEnvFileCannotHoldIsNamed(t *testing.T) {
	c, _ := newInitContainerConfig(t, wire.EnvReferences+`={"app/PASSWORD":"db@azurekeyvault"}`)
	for name, value := range map[string]struct{ value, says string }{
		"empty":             {"", "is empty"},
		"a single quote":    {"hunter2'", "has a single quote"},
		"a carriage return": {"hunter2\r\n", "has a carriage return"},
		"NUL":               {"hunter2\x00", "has a NUL byte"},
		"not text":          {"hunter2\xff", "is not UTF-8"},
		"long":              {strings.Repeat("hunter2", limits.EnvFileValueBytes/7+1), "has 32774 bytes (limit: 32 KiB)"},
	} {
		c.NewResolver = func() (Resolver, error) {
			return &recordingResolver{values: map[string]string{"app/PASSWORD": value.value}}, nil
		}
		files, err := c.resolveEnvFiles(t.Context())
		assert.Empty(t, files, name)
		assert.Equal(t, fault.Invalid, fault.KindOf(err), name)
		assert.ErrorContains(t, err, `container "app", variable PASSWORD: the value `+value.says+", which an env file can't hold; change the annotation akv2k8s.io/delivery of the pod to auto", name)
		assert.NotContains(t, err.Error(), "hunter2")
	}
	longest := strings.Repeat("x", limits.EnvFileValueBytes)
	assert.Empty(t, envFileProblem([]byte(longest)))
	_, err := encodeEnvFile("app", map[string][]byte{"app/A": []byte(longest), "app/B": []byte(longest)})
	assert.ErrorContains(t, err, `the values of container "app" have 65546 bytes, and an env file can have 64 KiB`)
}

func TestARecordForEnvFilesThatIsDamagedIsRefused(t *testing.T) {
	for record, says := range map[string]string{
		"hunter2":                       "is not a JSON object",
		`{"A":"a@azurekeyvault"}`:       "an entry without a container",
		`{"/A":"a@azurekeyvault"}`:      "an entry without a container",
		`{"../A":"a@azurekeyvault"}`:    "an entry without a container",
		`{"app/A":"hunter2@azure","B":`: "is not a JSON object",
	} {
		c, _ := newInitContainerConfig(t, wire.EnvReferences+"="+record)
		_, err := c.resolveEnvFiles(t.Context())
		assert.Equal(t, fault.Invalid, fault.KindOf(err), record)
		assert.ErrorContains(t, err, says, record)
		assert.NotContains(t, err.Error(), "hunter2")
	}
}

func TestTheCheckFailsWhereTheKubeletIgnoresEnvFiles(t *testing.T) {
	for environ, want := range map[string]int{wire.EnvFileCheck + "=true": 0, wire.EnvFileCheck + "=": 64, "OTHER=true": 64} {
		var said strings.Builder
		message := filepath.Join(t.TempDir(), "termination-log")
		require.NoError(t, os.WriteFile(message, nil, 0o600))
		code := Program{Args: []string{"azure-keyvault-env-thin", "check-env-file"}, Environ: []string{environ, wire.EnvTerminationLog + "=" + message},
			Stdout: io.Discard, Stderr: &said}.Run(t.Context())
		assert.Equal(t, want, code, environ)
		content, err := os.ReadFile(message)
		require.NoError(t, err)
		if want == 0 {
			assert.Empty(t, said.String()+string(content))
			continue
		}
		for _, text := range []string{said.String(), string(content)} {
			assert.Contains(t, text, "the containers would start without their values")
			assert.Contains(t, text, "change the annotation akv2k8s.io/delivery of the pod to auto")
		}
	}
}

func TestTheWriterOfEnvFilesNeedsTheAuthServiceAndAFolder(t *testing.T) {
	run := func(folder string, environ ...string) (int, string) {
		var said strings.Builder
		return Program{Args: []string{"azure-keyvault-env-thin", "write-env-files", folder}, Environ: environ, Stdout: io.Discard, Stderr: &said}.Run(t.Context()), said.String()
	}
	folder := t.TempDir()
	code, said := run(folder, wire.EnvReferences+"={}")
	assert.Zero(t, code, said)
	content, err := os.ReadFile(filepath.Join(folder, "CHECK.env"))
	require.NoError(t, err)
	assert.Equal(t, "ENV_INJECTOR_ENV_FILE_CHECK='true'\n", string(content))
	code, said = run(filepath.Join(folder, "none"), wire.EnvReferences+"={}")
	assert.NotZero(t, code)
	assert.Contains(t, said, "writing an env file")
	code, said = run(folder, wire.EnvReferences+`={"app/A":"a@azurekeyvault"}`)
	assert.Equal(t, 64, code)
	assert.Contains(t, said, wire.EnvCA)
}
