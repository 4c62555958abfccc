package broker

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

func TestATokenNamesOnePod(t *testing.T) {
	user := func(name string, pod, uid []string) authenticationv1.UserInfo {
		return authenticationv1.UserInfo{Username: name, Extra: map[string]authenticationv1.ExtraValue{extraPodName: pod, extraPodUID: uid}}
	}
	one := []string{"p"}
	who, err := callerOf(user("system:serviceaccount:team:default", one, []string{"u"}))
	require.NoError(t, err)
	assert.Equal(t, caller{Namespace: "team", ServiceAccount: "default", Pod: "p", UID: "u"}, who)
	for name, is := range map[string]authenticationv1.UserInfo{
		"a node":               user("system:node:team:default", one, one),
		"without an account":   user("system:serviceaccount:team", one, one),
		"with an empty one":    user("system:serviceaccount:team:", one, one),
		"without a namespace":  user("system:serviceaccount::default", one, one),
		"without a pod":        user("system:serviceaccount:team:default", nil, one),
		"with two pods":        user("system:serviceaccount:team:default", []string{"p", "q"}, one),
		"with an empty pod":    user("system:serviceaccount:team:default", []string{""}, one),
		"without a pod's uid":  user("system:serviceaccount:team:default", one, nil),
		"with two uids":        user("system:serviceaccount:team:default", one, []string{"u", "v"}),
		"with an empty uid":    user("system:serviceaccount:team:default", one, []string{""}),
		"with nothing besides": {Username: "system:serviceaccount:team:default"},
	} {
		_, err := callerOf(is)
		assert.Equal(t, fault.Unauthenticated, fault.KindOf(err), name)
	}
}

func TestARequestOfAnotherFormIsRefused(t *testing.T) {
	for _, body := range []string{`[]`, `"x"`, `{"references":[]}`, `{"references":"x"}`, `{"references":{"A":1}}`, `{"references":{"A":null}}`, `{"references":{"A":{}}}`,
		`{"references":{"A":"a@azurekeyvault"}} {}`, `{"references":{"A":"a@azurekeyvault"}}x`, `{"references":{"A":"a@azurekeyvault"}`, `{"check":1,"references":{"A":"a@azurekeyvault"}}`} {
		_, err := parseRequest([]byte(body), 10)
		assert.Equal(t, fault.Invalid, fault.KindOf(err), body)
		assert.ErrorContains(t, err, "not a request of the injector", body)
	}
	request, err := parseRequest([]byte(` {"later":[{"references":{}}],"references":{"A":"a@azurekeyvault","A":"b@azurekeyvault"}} `), 2)
	require.NoError(t, err, "a newer injector may send more")
	assert.Equal(t, map[string]string{"A": "b@azurekeyvault"}, request.References)
	_, err = parseRequest([]byte(`{"references":{"A":"a@azurekeyvault","A":"b@azurekeyvault"}}`), 1)
	assert.Equal(t, fault.Denied, fault.KindOf(err), "what is there twice counts twice")
}

func TestWhoWaitsInVainToBeIdentifiedIsAskedToComeBack(t *testing.T) {
	b := &Broker{limiters: newRequestLimiters(time.Now)}
	r := httptest.NewRequest("POST", "/", nil)
	require.True(t, b.limiters.identificationSlots.TryAcquire("another", limits.AuthIdentificationsAtOnce))
	r.Header.Set("Authorization", "Bearer a.b.c")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.newPodRequest(httptest.NewRecorder(), r).identifyPod(ctx)
	assert.Equal(t, fault.Throttled, fault.KindOf(err))
	assert.ErrorContains(t, err, "from address 192.0.2.1")
}
