package broker_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// assertSoundResponse asserts what holds for every answer.
func (c *fakeCluster) assertSoundResponse(w *httptest.ResponseRecorder) {
	c.Helper()
	if w.Code == http.StatusOK {
		var answer wire.ResolveResponse
		require.NoError(c, json.Unmarshal(w.Body.Bytes(), &answer))
		for name, value := range answer.Values {
			assert.LessOrEqual(c, len(name), 6*limits.VariableNameBytes)
			assert.Equal(c, c.value, string(value))
		}
		return
	}
	var refusal wire.ErrorResponse
	require.NoError(c, json.Unmarshal(w.Body.Bytes(), &refusal))
	assert.True(c, slices.Contains(fault.Kinds(), fault.Kind(refusal.Kind)), refusal.Kind)
	assert.NotEqual(c, string(fault.Bug), refusal.Kind, refusal.Message)
	assert.NotEmpty(c, refusal.Message)
	assert.LessOrEqual(c, w.Body.Len(), 8*limits.AuthMessageBytes)
	assert.NotContains(c, w.Body.String(), canary)
	assert.LessOrEqual(c, len(c.lines), 1)
	for _, line := range c.lines {
		assert.LessOrEqual(c, len(line), 8*limits.AuthMessageBytes)
		assert.NotContains(c, line, canary)
	}
}

func FuzzRequest(f *testing.F) {
	for _, seed := range []string{`{"references":{"A":"one@azurekeyvault"}}`, `{"references":{"A":"one@azurekeyvault"},"check":true}`, `{"references":{}}`, "", "null", "[[[[", `{"x":[{}],"references":{"A":1}}`,
		`{"references":{"A":"one@azurekeyvault","A":"two@azurekeyvault"}} {}`, `{"references":{"\ud800":"one@azurekeyvault"},"references":{"B":"one@azurekeyvault"}}`, `{"check":"yes"}`} {
		f.Add([]byte(seed), "Bearer team.p.x")
	}
	f.Fuzz(func(t *testing.T, body []byte, authorization string) {
		// The body is held up to four times: as it is read, by the decoder, as text and as answer.
		budget := fuzzbudget.Budget{Time: 2 * time.Second, Bytes: 4 << 20, PerByte: 200}
		fuzzbudget.Check(t, budget, len(body)+len(authorization), func() {
			c := newFakeCluster(t)
			r := httptest.NewRequest(http.MethodPost, wire.ResolvePath, bytes.NewReader(body))
			r.Header.Set("Authorization", authorization)
			w := httptest.NewRecorder()
			c.broker.ServeHTTP(w, r)
			c.assertSoundResponse(w)
		})
	})
}

func FuzzToken(f *testing.F) {
	f.Add("Bearer a.b.c", "system:serviceaccount:team:default", "p", "team/p")
	f.Add("Bearer a.b.c", "system:serviceaccount::", "", "")
	f.Add("bearer a.b.c", "system:node:n", "p", "u")
	f.Add("Bearer ..", "system:serviceaccount:a:b:c", "p\n", "u")
	f.Fuzz(func(t *testing.T, authorization, user, pod, uid string) {
		budget := fuzzbudget.Budget{Time: 2 * time.Second, Bytes: 4 << 20, PerByte: 200}
		fuzzbudget.Check(t, budget, len(authorization)+len(user)+len(pod)+len(uid), func() {
			c := newFakeCluster(t)
			c.reviewed = &authenticationv1.UserInfo{Username: user, Extra: map[string]authenticationv1.ExtraValue{
				"authentication.kubernetes.io/pod-name": {pod}, "authentication.kubernetes.io/pod-uid": {uid}}}
			r := httptest.NewRequest(http.MethodPost, wire.ResolvePath, bytes.NewReader([]byte(`{"references":{"A":"one@azurekeyvault"}}`)))
			r.Header.Set("Authorization", authorization)
			w := httptest.NewRecorder()
			c.broker.ServeHTTP(w, r)
			c.assertSoundResponse(w)
			if w.Code == http.StatusOK {
				assert.Regexp(t, `^system:serviceaccount:[^:]+:default$`, user, "only a pod's own account")
				assert.NotEmpty(t, uid)
			}
		})
	})
}
