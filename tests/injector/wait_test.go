package injector

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// inInitContainer runs the program as the init container does, with the pod's token where the kubelet puts it.
const inInitContainer = `mount -t tmpfs tmpfs /run && mkdir -p ` + wire.MountToken + ` && cp "$1"/* ` + wire.MountToken + ` && exec "$2" copy "$3"`

// refuses is an auth service that has this to say.
func refuses(response wire.ErrorResponse) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_ = json.NewEncoder(w).Encode(response)
	}
}

// TestTheInitContainerWaitsUntilThePodCanHaveItsValues runs it as a process against auth services of all sorts.
func TestTheInitContainerWaitsUntilThePodCanHaveItsValues(t *testing.T) {
	m := &modes{T: t, programs: build(t)}
	var asked atomic.Int32
	checks := func(w http.ResponseWriter, r *http.Request) {
		var request wire.ResolveRequest
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&request))
		assert.Equal(t, wire.ResolveRequest{CheckOnly: true, References: map[string]string{"app/V": "db@azurekeyvault"}}, request)
		assert.Equal(t, "Bearer "+podToken, r.Header.Get("Authorization"))
		_, _ = w.Write([]byte("{}"))
	}
	absent := wire.ErrorResponse{Kind: string(fault.NotFound), Message: "there is no AzureKeyVaultSecret", CanAppearLater: true}
	later := func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 4 {
			refuses(absent)(w, r)
			return
		}
		checks(w, r)
	}
	for name, c := range map[string]struct {
		answer   http.HandlerFunc
		settings []string
		code     int
		message  string
	}{
		"at once":        {checks, nil, 0, ""},
		"a little later": {later, []string{wire.EnvDefaultTimeout + "=1m"}, 0, ""},
		"never":          {refuses(absent), []string{wire.EnvDefaultTimeout + "=1s"}, 66, "ObjectNotFound: there is no AzureKeyVaultSecret"},
		"denied":         {refuses(wire.ErrorResponse{Kind: string(fault.Denied), Message: "grant it"}), []string{wire.EnvDefaultTimeout + "=1h"}, 77, "AccessDenied: grant it"},
		"not in the vault": {refuses(wire.ErrorResponse{Kind: string(fault.NotFound), Message: "no such object"}), []string{wire.EnvDefaultTimeout + "=1h"}, 66,
			"ObjectNotFound: no such object"},
		"away":                         {refuses(wire.ErrorResponse{Kind: string(fault.Unavailable), Message: "away"}), []string{wire.EnvDefaultTimeout + "=1s"}, 75, "VaultUnavailable: away"},
		"a setting that can't be read": {checks, []string{wire.EnvTimeout + "=soon"}, 64, "ENV_INJECTOR_TIMEOUT is not a duration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			by := m.serve(doubt{name: brokerName, from: time.Now().Add(-time.Hour), answer: c.answer})
			into, said := t.TempDir(), filepath.Join(t.TempDir(), "said")
			require.NoError(t, os.WriteFile(said, nil, 0o600))
			cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--map-root-user", "--propagation", "private", "bash", "-ec", inInitContainer, "bash", by.files, by.program, into)
			for _, variable := range by.env { // without the settings that all others have
				if !strings.HasPrefix(variable, wire.EnvRetries) && !strings.HasPrefix(variable, wire.EnvTimeout) {
					cmd.Env = append(cmd.Env, variable)
				}
			}
			cmd.Env = append(append(cmd.Env, wire.EnvCheckReferences+`={"app/V":"db@azurekeyvault"}`, wire.EnvTerminationLog+"="+said), c.settings...)
			log, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				require.NoError(t, err)
			}
			assert.Equal(t, c.code, cmd.ProcessState.ExitCode(), "%s", log)
			assert.FileExists(t, filepath.Join(into, filepath.Base(wire.InjectorPath)), "it is copied nevertheless")
			message, err := os.ReadFile(said)
			require.NoError(t, err)
			assert.Contains(t, string(message), c.message)
			assert.Equal(t, c.code == 0, len(message) == 0)
			assert.NotContains(t, string(message)+string(log), podToken)
		})
	}
}

// probe runs the startup probe beside a process, in its namespaces.
func probe(t *testing.T, pid int, program string) error {
	t.Helper()
	out, err := exec.Command("nsenter", "--target", strconv.Itoa(pid), "--mount", "--pid", "--", "bash", "-c", `exec -a `+wire.HasStartedPath+` "$1"`, "bash", program).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// TestTheStartupProbeSucceedsWhenTheProgramHasStarted runs both injectors as the first process of a container, in front
// of a program that forks.
func TestTheStartupProbeSucceedsWhenTheProgramHasStarted(t *testing.T) {
	p := build(t)
	p.each(t, func(t *testing.T, program string) {
		m := &modes{T: t, programs: programs{p.whole, program}}
		release := make(chan struct{})
		asked := make(chan struct{}, 1)
		by := m.serve(doubt{name: brokerName, from: time.Now().Add(-time.Hour), answer: func(w http.ResponseWriter, _ *http.Request) {
			asked <- struct{}{}
			<-release
			_ = json.NewEncoder(w).Encode(wire.ResolveResponse{Values: map[string][]byte{"V": []byte("value")}})
		}})
		cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
			"bash", "-ec", inPod, "bash", by.files, by.program, "sh", "-c", "sleep 1000 & sleep 1000 & wait")
		cmd.Env = asWritten(append(by.env, "V=db@azurekeyvault"))
		require.NoError(t, cmd.Start())
		defer func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}()
		<-asked
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
		require.NoError(t, err)
		first, err := strconv.Atoi(strings.Fields(string(content))[0])
		require.NoError(t, err)
		require.ErrorContains(t, probe(t, first, program), "the injector waits")
		close(release)
		require.Eventually(t, func() bool {
			command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", first))
			return strings.HasPrefix(string(command), "sh\x00")
		}, 30*time.Second, 20*time.Millisecond)
		assert.NoError(t, probe(t, first, program))
	})
}
