package broker

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
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
