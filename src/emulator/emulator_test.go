package emulator_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

// open returns the SDK's client of vault kv1, for an application with all permissions.
func open(t *testing.T) (*azuretest.Azure, *azsecrets.Client) {
	t.Helper()
	a := azuretest.Start(t)
	a.Vaults.SetPermissions("kv1", azuretest.AppObjectID, []string{"get", "list", "set", "delete", "recover", "purge"})
	options := policy.ClientOptions{Transport: a.Client, Retry: policy.RetryOptions{MaxRetries: -1}}
	credential, err := azidentity.NewClientSecretCredential(azuretest.Tenant, azuretest.AppClientID, a.AppSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: options})
	require.NoError(t, err)
	client, err := azsecrets.NewClient("https://kv1.vault.azure.net", credential, &azsecrets.ClientOptions{ClientOptions: options})
	require.NoError(t, err)
	return a, client
}

// refused asserts the status and the error code of a response.
func refused(t *testing.T, err error, status int, code string) {
	t.Helper()
	var response *azcore.ResponseError
	if assert.ErrorAs(t, err, &response) {
		assert.Equal(t, status, response.StatusCode)
		assert.Equal(t, code, response.ErrorCode)
	}
}

func TestVersionsTagsAndAttributesSurvive(t *testing.T) {
	_, client := open(t)
	expires := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	first, err := client.SetSecret(t.Context(), "db", azsecrets.SetSecretParameters{Value: to.Ptr("one"), ContentType: to.Ptr("text/plain"),
		Tags: map[string]*string{"team": to.Ptr("a")}, SecretAttributes: &azsecrets.SecretAttributes{Expires: &expires}}, nil)
	require.NoError(t, err)
	_, err = client.SetSecret(t.Context(), "db", azsecrets.SetSecretParameters{Value: to.Ptr("two")}, nil)
	require.NoError(t, err)
	latest, err := client.GetSecret(t.Context(), "db", "", nil)
	require.NoError(t, err)
	assert.Equal(t, "two", *latest.Value)
	old, err := client.GetSecret(t.Context(), "db", first.ID.Version(), nil)
	require.NoError(t, err)
	assert.Equal(t, "one", *old.Value)
	assert.Equal(t, "text/plain", *old.ContentType)
	assert.Equal(t, "a", *old.Tags["team"])
	assert.Equal(t, expires, old.Attributes.Expires.UTC())
	assert.Equal(t, first.ID.Version(), old.ID.Version())
	_, err = client.UpdateSecretProperties(t.Context(), "db", latest.ID.Version(),
		azsecrets.UpdateSecretPropertiesParameters{SecretAttributes: &azsecrets.SecretAttributes{Enabled: to.Ptr(false)}}, nil)
	require.NoError(t, err)
	_, err = client.GetSecret(t.Context(), "db", "", nil)
	refused(t, err, http.StatusForbidden, "Forbidden")
	versions := 0
	for pager := client.NewListSecretPropertiesVersionsPager("db", nil); pager.More(); {
		page, err := pager.NextPage(t.Context())
		require.NoError(t, err)
		versions += len(page.Value)
	}
	assert.Equal(t, 2, versions)
	_, err = client.GetSecret(t.Context(), "db", "00000000000000000000000000000000", nil)
	refused(t, err, http.StatusNotFound, "SecretNotFound")
}

func TestListsComeInPagesWithoutValues(t *testing.T) {
	a, client := open(t)
	for i := range 50 {
		a.Vaults.PutSecret("kv1", fmt.Sprintf("s-%02d", i), keyvault.Secret{Value: "v"})
	}
	var sizes []int
	for pager := client.NewListSecretPropertiesPager(nil); pager.More(); {
		page, err := pager.NextPage(t.Context())
		require.NoError(t, err)
		sizes = append(sizes, len(page.Value))
		for _, item := range page.Value {
			assert.NotNil(t, item.Attributes.Updated)
			assert.Empty(t, item.ID.Version())
		}
	}
	assert.Equal(t, []int{25, 25, 0}, sizes, "the last page may be empty")
}

func TestDeletedIsRecoverableUntilPurged(t *testing.T) {
	_, client := open(t)
	_, err := client.SetSecret(t.Context(), "db", azsecrets.SetSecretParameters{Value: to.Ptr("one")}, nil)
	require.NoError(t, err)
	_, err = client.DeleteSecret(t.Context(), "db", nil)
	require.NoError(t, err)
	_, err = client.GetSecret(t.Context(), "db", "", nil)
	refused(t, err, http.StatusNotFound, "SecretNotFound")
	_, err = client.SetSecret(t.Context(), "db", azsecrets.SetSecretParameters{Value: to.Ptr("two")}, nil)
	refused(t, err, http.StatusConflict, "Conflict")
	deleted, err := client.GetDeletedSecret(t.Context(), "db", nil)
	require.NoError(t, err)
	assert.NotNil(t, deleted.ScheduledPurgeDate)
	_, err = client.RecoverDeletedSecret(t.Context(), "db", nil)
	require.NoError(t, err)
	got, err := client.GetSecret(t.Context(), "db", "", nil)
	require.NoError(t, err)
	assert.Equal(t, "one", *got.Value)
	_, err = client.DeleteSecret(t.Context(), "db", nil)
	require.NoError(t, err)
	_, err = client.PurgeDeletedSecret(t.Context(), "db", nil)
	require.NoError(t, err)
	_, err = client.GetDeletedSecret(t.Context(), "db", nil)
	refused(t, err, http.StatusNotFound, "SecretNotFound")
}

func TestPermissionsArePerPrincipalAndOperation(t *testing.T) {
	a, client := open(t)
	a.Vaults.PutSecret("kv1", "db", keyvault.Secret{Value: "v"})
	a.Vaults.SetPermissions("kv1", azuretest.AppObjectID, []string{"get"})
	_, err := client.GetSecret(t.Context(), "db", "", nil)
	require.NoError(t, err)
	_, err = client.NewListSecretPropertiesPager(nil).NextPage(t.Context())
	refused(t, err, http.StatusForbidden, "Forbidden")
	_, err = client.SetSecret(t.Context(), "db", azsecrets.SetSecretParameters{Value: to.Ptr("x")}, nil)
	refused(t, err, http.StatusForbidden, "Forbidden")
	a.Vaults.SetFirewall("kv1", true)
	_, err = client.GetSecret(t.Context(), "db", "", nil)
	refused(t, err, http.StatusForbidden, "Forbidden")
	assert.ErrorContains(t, err, "ForbiddenByFirewall")
}

func TestFaultsStrikeWhatTheyMatchAndAsOftenAsTold(t *testing.T) {
	a, client := open(t)
	a.Vaults.PutSecret("kv1", "db", keyvault.Secret{Value: "v"})
	a.Vaults.PutSecret("kv1", "other", keyvault.Secret{Value: "v"})
	a.Vaults.AddFault(keyvault.Fault{Name: "db", Status: 429, Code: "Throttled", RetryAfter: 1, Times: 1})
	_, err := client.GetSecret(t.Context(), "other", "", nil)
	require.NoError(t, err)
	_, err = client.GetSecret(t.Context(), "db", "", nil)
	refused(t, err, http.StatusTooManyRequests, "Throttled")
	_, err = client.GetSecret(t.Context(), "db", "", nil)
	require.NoError(t, err, "once was told")
	a.Vaults.AddFault(keyvault.Fault{Drop: true})
	_, err = client.GetSecret(t.Context(), "db", "", nil)
	var response *azcore.ResponseError
	assert.Error(t, err)
	assert.False(t, errors.As(err, &response), "nobody answered: %v", err)
	a.Vaults.RemoveFaults("kv2")
	_, err = client.GetSecret(t.Context(), "db", "", nil)
	require.Error(t, err, "another vault was healed")
	a.Vaults.RemoveFaults("")
	_, err = client.GetSecret(t.Context(), "db", "", nil)
	require.NoError(t, err)
	assert.Equal(t, 1, a.Counters()["kv1 get 429"])
	assert.Equal(t, 1, a.Counters()["kv1 get 401"], "one challenge for the client's whole life")
	a.ResetCounters()
	assert.Empty(t, a.Counters())
}

// admin sends a request to the admin API.
func admin(t *testing.T, e *emulator.Emulator, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	e.AdminHandler().ServeHTTP(w, httptest.NewRequest(method, path, bytes.NewBufferString(body)))
	return w.Code, w.Body.String()
}

func TestTheAdminAPIReachesEverything(t *testing.T) {
	a, client := open(t)
	seed, err := json.Marshal(emulator.Seed{Vaults: map[string]emulator.VaultSeed{"kv1": {
		Permissions: map[string][]string{azuretest.AppObjectID: {"get"}}, Secrets: map[string]keyvault.Secret{"db": {Value: "seeded"}}}}})
	require.NoError(t, err)
	get := func() (string, error) {
		got, err := client.GetSecret(t.Context(), "db", "", nil)
		if err != nil {
			return "", err
		}
		return *got.Value + " " + got.ID.Version(), nil
	}
	do := func(method, path, body string) {
		t.Helper()
		code, said := admin(t, a.Emulator, method, path, body)
		require.Equal(t, http.StatusOK, code, said)
	}
	do("POST", "/seed", string(seed))
	first, err := get()
	require.NoError(t, err)
	do("POST", "/seed", string(seed))
	again, err := get()
	require.NoError(t, err)
	assert.Equal(t, first, again, "the same seed makes no new version")
	do("PUT", "/vaults/kv1/secrets/db", `{"value":"rotated"}`)
	rotated, err := get()
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(rotated, "rotated "))
	do("POST", "/vaults/kv1/secrets/db/disable", "")
	_, err = get()
	assert.Error(t, err)
	do("POST", "/vaults/kv1/secrets/db/enable", "")
	do("PUT", "/vaults/kv1/permissions/"+azuretest.AppObjectID, `[]`)
	_, err = get()
	refused(t, err, http.StatusForbidden, "Forbidden")
	do("PUT", "/vaults/kv1/permissions/"+azuretest.AppObjectID, `["get"]`)
	do("PUT", "/vaults/kv1/firewall", "true")
	_, err = get()
	assert.Error(t, err)
	do("PUT", "/vaults/kv1/firewall", "false")
	do("POST", "/faults", `{"status":500}`)
	_, err = get()
	assert.Error(t, err)
	do("DELETE", "/faults", "")
	do("POST", "/vaults/kv1/secrets/db/delete", "")
	_, err = get()
	refused(t, err, http.StatusNotFound, "SecretNotFound")
	_, counters := admin(t, a.Emulator, "GET", "/counters", "")
	assert.Contains(t, counters, `"kv1 get 200"`)
	do("DELETE", "/counters", "")
	do("GET", "/healthz", "")
	for path, body := range map[string]string{"/seed": "{", "/faults": "x"} {
		code, _ := admin(t, a.Emulator, "POST", path, body)
		assert.Equal(t, http.StatusBadRequest, code)
	}
	code, _ := admin(t, a.Emulator, "POST", "/vaults/kv1/secrets/none/disable", "")
	assert.Equal(t, http.StatusNotFound, code)
	code, _ = admin(t, a.Emulator, "POST", "/vaults/kv1/secrets/db/frobnicate", "")
	assert.Equal(t, http.StatusNotFound, code)
}

func TestTokensOutliveARestartIfTheKeyDoes(t *testing.T) {
	a, _ := open(t)
	assert.Error(t, a.Directory.UseSigningKey([]byte("no key")))
}

func TestAnIdentityIsAssignedAfterAWhile(t *testing.T) {
	now := time.Now()
	e, err := emulator.New(azuretest.Tenant, func() time.Time { return now })
	require.NoError(t, err)
	require.NoError(t, e.ApplySeed(emulator.Seed{Principals: []entra.Principal{{Name: "late", ClientID: "late", ObjectID: "o", ManagedIdentity: "user", AssignedAfterSeconds: 3}}}))
	ask := func() int {
		r := httptest.NewRequest(http.MethodGet, "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net&client_id=late", nil)
		r.Header.Set("Metadata", "true")
		w := httptest.NewRecorder()
		e.MetadataHandler().ServeHTTP(w, r)
		return w.Code
	}
	assert.Equal(t, http.StatusBadRequest, ask())
	now = now.Add(3 * time.Second)
	assert.Equal(t, http.StatusOK, ask())
}
