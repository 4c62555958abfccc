package cluster

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// kubeconfigOf writes a kubeconfig for a server, with the context test and the namespace team.
func kubeconfigOf(t *testing.T, server string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(path, []byte(`apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "`+server+`"}}]
users: [{name: test, user: {}}]
contexts:
- {name: test, context: {cluster: test, user: test, namespace: team}}
- {name: other, context: {cluster: test, user: test}}
`), 0o600))
	return path
}

// parsedFlags are the cluster flags of a command with these arguments.
func parsedFlags(t *testing.T, args ...string) *Flags {
	t.Helper()
	cmd := &cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error { return nil }}
	f := AddFlags(cmd)
	f.AddAllNamespaces(cmd.Flags())
	cmd.SetArgs(args)
	cmd.SetErr(io.Discard)
	require.NoError(t, cmd.Execute())
	return f
}

func TestTheFlagsSelectTheCluster(t *testing.T) {
	path := kubeconfigOf(t, "https://api.example:6443")
	c, err := parsedFlags(t, "--kubeconfig", path, "--as", "jane").Connect()
	require.NoError(t, err)
	assert.Equal(t, "https://api.example:6443", c.Config.Host)
	assert.Equal(t, "jane", c.Config.Impersonate.UserName)
	assert.Equal(t, limits.ClusterRequestTimeout, c.Config.Timeout)
	assert.InDelta(t, limits.ClusterQPS, c.Config.QPS, 0)
	assert.Contains(t, c.Config.UserAgent, "kubectl-akv2k8s/")
	assert.Equal(t, "team", c.Namespace)
	assert.Equal(t, "team", c.ListNamespace())

	c, err = parsedFlags(t, "--kubeconfig", path, "-n", "two", "-A", "--request-timeout", "3s").Connect()
	require.NoError(t, err)
	assert.Equal(t, 3*time.Second, c.Config.Timeout)
	assert.Equal(t, "two", c.Namespace)
	assert.Empty(t, c.ListNamespace())

	c, err = parsedFlags(t, "--kubeconfig", path, "--context", "other").Connect()
	require.NoError(t, err)
	assert.Equal(t, "default", c.Namespace)
}

func TestErrorsOfTheConnectionSayWhatToDo(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "missing"))
	t.Setenv("HOME", t.TempDir())
	path := kubeconfigOf(t, "https://api.example:6443")
	for _, try := range []struct {
		want string
		args []string
	}{
		{"az aks get-credentials", nil},
		{"correct --kubeconfig", []string{"--kubeconfig", filepath.Join(t.TempDir(), "none")}},
		{"kubectl config get-contexts", []string{"--kubeconfig", path, "--context", "none"}},
	} {
		_, err := parsedFlags(t, try.args...).Connect()
		require.Error(t, err)
		assert.Contains(t, err.Error(), try.want)
	}
}

func TestErrorsOfRequestsSayWhatToDo(t *testing.T) {
	resource := schema.GroupResource{Group: "spv.no", Resource: "azurekeyvaultsecrets"}
	request := func(err error) error { return &url.Error{Op: "Get", URL: "https://api.example:6443/api?x=y", Err: err} }
	for want, err := range map[string]error{
		"the cluster does not have AzureKeyVaultSecret.spv.no; check that the context": &meta.NoKindMatchError{
			GroupKind: schema.GroupKind{Group: "spv.no", Kind: "AzureKeyVaultSecret"}},
		"ask for a Role that allows it":      apierrors.NewForbidden(resource, "x", errors.New("no")),
		"sign in to the cluster again":       apierrors.NewUnauthorized("no"),
		"try again in a minute":              apierrors.NewServiceUnavailable("starting"),
		"get its credentials again":          request(x509.UnknownAuthorityError{}),
		"connecting to the API server https": request(errors.New("refused")),
		"allow more time":                    context.DeadlineExceeded,
	} {
		explained := ExplainError(err)
		assert.Contains(t, explained.Error(), want)
		assert.NotEmpty(t, fault.NextStepOf(explained))
		assert.NotContains(t, explained.Error(), "x=y")
		assert.Equal(t, explained, ExplainError(explained), "it is explained once")
	}
	notFound := apierrors.NewNotFound(resource, "x")
	assert.Equal(t, notFound, ExplainError(notFound), "the caller knows what to do")
}

func TestAServerThatDoesNotListenIsNamed(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	address := server.URL
	server.Close()
	c, err := parsedFlags(t, "--kubeconfig", kubeconfigOf(t, address)).Connect()
	require.NoError(t, err)
	_, err = ListPages(t.Context(), c.Client, &v2beta1.AzureKeyVaultSecretList{}, func() error { return nil })
	require.Error(t, err)
	assert.Contains(t, err.Error(), "connecting to the API server "+address)
	assert.Contains(t, err.Error(), "kubectl cluster-info")
}

// pagedReader answers LIST with pages without an end.
type pagedReader struct {
	client.Reader
	requests int
}

func (r *pagedReader) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	r.requests++
	applied := (&client.ListOptions{}).ApplyOptions(options)
	l := list.(*v2beta1.AzureKeyVaultSecretList)
	l.Items = make([]v2beta1.AzureKeyVaultSecret, applied.Limit)
	l.Continue = "more"
	return nil
}

func TestListsEnd(t *testing.T) {
	endless := &pagedReader{}
	seen, list := 0, &v2beta1.AzureKeyVaultSecretList{}
	complete, err := ListPages(t.Context(), endless, list, func() error { seen += len(list.Items); return nil })
	require.NoError(t, err)
	assert.False(t, complete)
	assert.Equal(t, limits.ClusterListItems, seen)
	assert.Equal(t, limits.ClusterListItems/limits.ClusterListPage, endless.requests)
}
