package apiserver

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func TestTheAPIServerIsKnownWhereverItsReplicasAre(t *testing.T) {
	port := int32(6443)
	meta := metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"}
	slice := &discoveryv1.EndpointSlice{ObjectMeta: meta, Ports: []discoveryv1.EndpointPort{{Port: &port}, {}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"172.30.0.2"}}, {Addresses: []string{"fd00::2", "no address"}}}}
	service := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{ClusterIPs: []string{"10.96.0.1", "fd01::1"}}}
	var down error
	live := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(slice, service).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			if down != nil {
				return down
			}
			return c.Get(ctx, key, obj, opts...)
		}}).Build()
	var log bytes.Buffer
	a := NewAddresses(live, funcr.New(func(_, args string) { log.WriteString(args + "\n") }, funcr.Options{}), "10.0.0.1")
	is := func(to string) bool { return a.IsAPIServer(netip.MustParseAddrPort(to)) }
	assert.True(t, is("10.0.0.1:443"), "what every container is told, from the beginning")
	assert.False(t, is("172.30.0.2:6443"))
	a.Refresh(t.Context())
	for to, want := range map[string]bool{"10.0.0.1:1": true, "10.96.0.1:443": true, "[fd01::1]:443": true, "172.30.0.2:6443": true, "[fd00::2]:6443": true,
		"172.30.0.2:5000": false, "172.30.0.3:6443": false} {
		assert.Equal(t, want, is(to), to)
	}
	assert.True(t, a.IsReplica(netip.MustParseAddr("172.30.0.2")))
	assert.False(t, a.IsReplica(netip.MustParseAddr("10.96.0.1")), "nobody calls from the address of a Service")

	slice.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"172.30.0.9"}}}
	require.NoError(t, live.Update(t.Context(), slice))
	a.Refresh(t.Context())
	assert.True(t, is("172.30.0.9:6443"), "a replica that came")
	assert.False(t, is("172.30.0.2:6443"), "one that went")

	assert.Empty(t, log.String())
	down = errors.New("not allowed")
	a.Refresh(t.Context())
	a.Refresh(t.Context())
	assert.True(t, is("172.30.0.9:6443"), "what is known stays")
	assert.Equal(t, 1, bytes.Count(log.Bytes(), []byte("\n")), log.String())
	assert.Contains(t, log.String(), "helm upgrade")
	assert.False(t, NewAddresses(live, a.log, "api.example.com").IsAPIServer(netip.MustParseAddrPort("10.0.0.1:443")), "a name is no address")
}
