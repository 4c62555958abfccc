package cli_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/cli"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// answers makes the server answer requests for a refresh, as the controller does.
func (s *apiServer) answers(t *testing.T, edit func(*v2beta1.AzureKeyVaultSecret)) {
	t.Helper()
	s.onPatch = func(object *unstructured.Unstructured) {
		s.change(t, object.GetName(), func(r *v2beta1.AzureKeyVaultSecret) {
			r.Status.Refresh = r.Annotations[wire.AnnotationRefresh]
			edit(r)
		})
	}
}

func TestRefreshTellsWhatHasChanged(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*v2beta1.AzureKeyVaultSecret)
		want string
	}{
		{"db", func(r *v2beta1.AzureKeyVaultSecret) { r.Status.VaultVersion = "1" },
			"azurekeyvaultsecret/db refreshed: version 1, before 0123456789abcdef0123456789abcdef\n"},
		{"db", func(*v2beta1.AzureKeyVaultSecret) {},
			"azurekeyvaultsecret/db refreshed: version 0123456789abcdef0123456789abcdef, unchanged\n"},
		{"api", func(r *v2beta1.AzureKeyVaultSecret) {
			r.Status.VaultVersion, r.Status.Conditions[0].Status = "2", metav1.ConditionTrue
		}, "azurekeyvaultsecret/api refreshed: version 2\n"},
		{"api", func(r *v2beta1.AzureKeyVaultSecret) { r.Status.Conditions[0].Status = metav1.ConditionTrue },
			"azurekeyvaultsecret/api refreshed: its objects are unchanged\n"},
		{"api", func(r *v2beta1.AzureKeyVaultSecret) {
			now := metav1.Now()
			r.Status.LastAzureUpdate, r.Status.Conditions[0].Status = &now, metav1.ConditionTrue
		}, "azurekeyvaultsecret/api refreshed: its objects have changed\n"},
	} {
		s := newAPIServer(t, objectsOf(t, someResources)...)
		s.answers(t, c.edit)
		code, stdout, stderr := run(t, "", s.with("refresh", c.name)...)
		assert.Equal(t, cli.ExitOK, code, stderr)
		assert.Equal(t, c.want, stdout)
	}
}

func TestRefreshFailsWithTheCondition(t *testing.T) {
	s := newAPIServer(t, objectsOf(t, someResources)...)
	s.answers(t, func(*v2beta1.AzureKeyVaultSecret) {})
	code, stdout, stderr := run(t, "", s.with("refresh", "api")...)
	assert.Equal(t, cli.ExitFailure, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, `the refresh of AzureKeyVaultSecret "api" failed: AccessDenied: the vault denied it`)
}

func TestRefreshEndsWithoutAnAnswer(t *testing.T) {
	s := newAPIServer(t, objectsOf(t, someResources)...)
	for name, want := range map[string]string{
		"db":   `no controller of akv2k8s 2.0 or later has answered the request for AzureKeyVaultSecret "db" within 100ms; see its pods`,
		"api":  "the vault was not read within 100ms: AccessDenied: the vault denied it; the controller retries it",
		"none": `there is no AzureKeyVaultSecret "none" in namespace "team"`,
	} {
		code, _, stderr := run(t, "", s.with("refresh", name, "--timeout", "100ms")...)
		assert.Equal(t, cli.ExitFailure, code)
		assert.Contains(t, stderr, want)
	}
	s.onPatch = func(*unstructured.Unstructured) {
		s.change(t, "db", func(r *v2beta1.AzureKeyVaultSecret) { r.Annotations[wire.AnnotationRefresh] = "of another" })
	}
	_, _, stderr := run(t, "", s.with("refresh", "db")...)
	assert.Contains(t, stderr, "another request for a refresh")
}

func TestRefreshCanEndAtOnce(t *testing.T) {
	s := newAPIServer(t, objectsOf(t, someResources)...)
	code, stdout, stderr := run(t, "", s.with("refresh", "db", "--wait=false")...)
	require.Equal(t, cli.ExitOK, code, stderr)
	assert.Equal(t, "refresh of azurekeyvaultsecret/db requested\n", stdout)
	s.change(t, "db", func(r *v2beta1.AzureKeyVaultSecret) {
		assert.Regexp(t, `^[-_.:+a-zA-Z0-9]{20,64}$`, r.Annotations[wire.AnnotationRefresh], "the controller shows it unchanged")
	})
	for want, args := range map[string][]string{
		"needs the name of one AzureKeyVaultSecret, but has 0 arguments": {"refresh"},
		"has 2 arguments":                  {"refresh", "a", "b"},
		"--timeout must be more than 0s":   {"refresh", "db", "--timeout", "0s"},
		"invalid argument \"x\" for \"--t": {"refresh", "db", "--timeout", "x"},
	} {
		code, _, stderr := run(t, "", s.with(args...)...)
		assert.Equal(t, cli.ExitUsage, code)
		assert.Contains(t, stderr, want)
	}
	_, stdout, _ = run(t, "", "__complete", "refresh", "--kubeconfig", s.kubeconfig, "db", "")
	assert.Equal(t, ":4\n", stdout)
}
