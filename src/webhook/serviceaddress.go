package webhook

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ServiceAddress is the host:port of the auth service's Service by ClusterIP, which does not change while the Service
// exists. Pods get it so that they need no DNS. Without it they use the DNS name.
type ServiceAddress struct {
	APIReader client.Reader
	Name      types.NamespacedName
	Port      int
	cached    atomic.Pointer[string]
}

// Get returns the address; empty if the Service can't be read or has none.
func (a *ServiceAddress) Get(ctx context.Context) string {
	if known := a.cached.Load(); known != nil {
		return *known
	}
	var service corev1.Service
	if err := a.APIReader.Get(ctx, a.Name, &service); err != nil || service.Spec.ClusterIP == "" ||
		service.Spec.ClusterIP == corev1.ClusterIPNone {
		return ""
	}
	address := service.Spec.ClusterIP
	if strings.Contains(address, ":") {
		address = "[" + address + "]"
	}
	address = fmt.Sprintf("%s:%d", address, a.Port)
	a.cached.Store(&address)
	return address
}
