package serviceaccount_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/serviceaccount"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

var who = keyvault.Identity{Namespace: "team", ServiceAccount: "reader"}

type bench struct {
	*serviceaccount.Accounts
	client  client.Client
	next    error
	reads   int
	request authenticationv1.TokenRequestSpec
	now     time.Time
}

func newBench(t *testing.T, annotations map[string]string) *bench {
	t.Helper()
	b := &bench{now: time.Now()}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "reader", Annotations: annotations}}
	b.client = interceptor.NewClient(fake.NewClientBuilder().WithObjects(account).Build(), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, into client.Object, options ...client.GetOption) error {
			b.reads++
			if b.next != nil {
				return b.next
			}
			return c.Get(ctx, key, into, options...)
		},
		SubResourceCreate: func(_ context.Context, _ client.Client, name string, object, sub client.Object, _ ...client.SubResourceCreateOption) error {
			assert.Equal(t, "team/reader token", object.GetNamespace()+"/"+object.GetName()+" "+name)
			request := sub.(*authenticationv1.TokenRequest)
			b.request, request.Status.Token = request.Spec, "token"
			return b.next
		},
	})
	var err error
	b.Accounts, err = serviceaccount.New(serviceaccount.Config{APIReader: b.client, TokenClient: b.client, Clock: func() time.Time { return b.now }})
	require.NoError(t, err)
	return b
}

func TestTheAnnotationsSayWhichApplication(t *testing.T) {
	b := newBench(t, map[string]string{"azure.workload.identity/client-id": "c\n", "azure.workload.identity/tenant-id": " t"})
	for range 3 {
		tenant, client, err := b.ApplicationIDs(t.Context(), who)
		require.NoError(t, err)
		assert.Equal(t, []string{"t", "c"}, []string{tenant, client})
	}
	assert.Equal(t, 1, b.reads, "many resources at once cost one read")
	var account corev1.ServiceAccount
	require.NoError(t, b.client.Get(t.Context(), client.ObjectKey{Namespace: "team", Name: "reader"}, &account))
	require.NoError(t, b.client.Delete(t.Context(), &account))
	b.now = b.now.Add(11 * time.Second)
	_, _, err := b.ApplicationIDs(t.Context(), who)
	assert.Equal(t, fault.Unauthenticated, fault.KindOf(err), "an account that is gone is not believed for long")
	assert.ErrorContains(t, err, `ServiceAccount "reader" of namespace "team" does not exist`)
}

func TestATokenIsForAzureAlone(t *testing.T) {
	b := newBench(t, nil)
	token, err := b.Token(t.Context(), who)
	require.NoError(t, err)
	assert.Equal(t, "token", token)
	assert.Equal(t, []string{"api://AzureADTokenExchange"}, b.request.Audiences)
	assert.EqualValues(t, 600, *b.request.ExpirationSeconds)
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	b := newBench(t, map[string]string{"azure.workload.identity/tenant-id": "t"})
	_, _, err := b.ApplicationIDs(t.Context(), who)
	assert.Equal(t, fault.Unauthenticated, fault.KindOf(err))
	assert.ErrorContains(t, err, "has no annotation azure.workload.identity/client-id; set it")

	_, _, err = b.ApplicationIDs(t.Context(), keyvault.Identity{Namespace: "team", ServiceAccount: "../secrets/x"})
	assert.Equal(t, fault.Invalid, fault.KindOf(err))

	b.next = apierrors.NewForbidden(schema.GroupResource{Resource: "serviceaccounts"}, "reader", errors.New("no"))
	_, _, err = b.ApplicationIDs(t.Context(), who)
	assert.Equal(t, fault.Denied, fault.KindOf(err))
	_, tokenErr := b.Token(t.Context(), who)
	assert.Equal(t, fault.Denied, fault.KindOf(tokenErr))
	for _, err := range []error{err, tokenErr} {
		assert.ErrorContains(t, err, "add it to the value identity.serviceAccounts")
	}
	b.next = errors.New("down")
	_, err = b.Token(t.Context(), who)
	assert.Equal(t, fault.Unavailable, fault.KindOf(err))

	whole := serviceaccount.Config{APIReader: b.client, TokenClient: b.client, Clock: time.Now}
	for name, without := range map[string]func(*serviceaccount.Config){
		"live": func(c *serviceaccount.Config) { c.APIReader = nil }, "tokens": func(c *serviceaccount.Config) { c.TokenClient = nil }, "clock": func(c *serviceaccount.Config) { c.Clock = nil },
	} {
		c := whole
		without(&c)
		_, err = serviceaccount.New(c)
		assert.ErrorContains(t, err, "serviceaccount.New: missing or invalid: ", name)
	}
}

func TestAccountsAreRememberedForAWhileAndUpToABound(t *testing.T) {
	now, reads := time.Now(), 0
	live := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
			reads++
			into.SetAnnotations(map[string]string{"azure.workload.identity/client-id": "c"})
			return nil
		},
	})
	a, err := serviceaccount.New(serviceaccount.Config{APIReader: live, TokenClient: live, Clock: func() time.Time { return now }})
	require.NoError(t, err)
	ask := func(i int) {
		_, _, err := a.ApplicationIDs(t.Context(), keyvault.Identity{Namespace: "team", ServiceAccount: fmt.Sprint("a", i)})
		require.NoError(t, err)
	}
	for i := range limits.CachedIdentities + 5 {
		ask(i)
		require.LessOrEqual(t, a.CachedAccounts(), limits.CachedIdentities)
	}
	ask(limits.CachedIdentities + 4)
	assert.Equal(t, limits.CachedIdentities+5, reads, "the last one is remembered")
	now = now.Add(time.Minute)
	ask(0)
	assert.Equal(t, 1, a.CachedAccounts(), "the old ones are forgotten")
}
