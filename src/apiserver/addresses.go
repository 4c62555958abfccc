package apiserver

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/logkey"
)

// Addresses has the addresses of the API server: its Service and its replicas. A registry can't have them, and
// requests from a replica have no limits. It refreshes them, because replicas change.
type Addresses struct {
	live client.Reader
	log  logr.Logger
	// hostFromEnv is the IP address in KUBERNETES_SERVICE_HOST, if it has one.
	hostFromEnv []netip.Addr
	latest      atomic.Pointer[addressSnapshot]
}

// addressSnapshot are the addresses from the last refresh.
type addressSnapshot struct {
	serviceIPs []netip.Addr
	// endpoints are the replicas with their serving port.
	endpoints []netip.AddrPort
	// readError is the error of the last refresh; empty if it succeeded.
	readError string
}

const (
	// refreshInterval is the time between two refreshes.
	refreshInterval = 10 * time.Second
	// refreshTimeout limits the time of one refresh.
	refreshTimeout = 5 * time.Second
)

// kubernetesService is the name of the Service and of the EndpointSlice that the API server maintains for itself.
func kubernetesService() types.NamespacedName {
	return types.NamespacedName{Namespace: corev1.NamespaceDefault, Name: "kubernetes"}
}

// NewAddresses returns the addresses as they are known before the first refresh: host is that of the variable
// KUBERNETES_SERVICE_HOST.
func NewAddresses(live client.Reader, log logr.Logger, host string) *Addresses {
	a := &Addresses{live: live, log: log}
	if address, err := netip.ParseAddr(host); err == nil { // else the program runs outside a cluster, or host is a name
		a.hostFromEnv = append(a.hostFromEnv, address.Unmap())
	}
	a.latest.Store(&addressSnapshot{})
	return a
}

// NeedLeaderElection implements controller-runtime's interface.
func (*Addresses) NeedLeaderElection() bool { return false }

// Start refreshes the addresses until the context ends.
func (a *Addresses) Start(ctx context.Context) error {
	ticker := time.NewTicker(refreshInterval)
	defer ticker.Stop()
	for {
		a.Refresh(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Refresh reads the Service and the EndpointSlice. If one can't be read, its addresses stay unchanged, and the
// first error is logged.
func (a *Addresses) Refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	before := a.latest.Load()
	now := *before
	var service corev1.Service
	var slice discoveryv1.EndpointSlice
	err := a.live.Get(ctx, kubernetesService(), &service)
	if err == nil {
		now.serviceIPs = parseAddresses(service.Spec.ClusterIPs)
	}
	behind := a.live.Get(ctx, kubernetesService(), &slice)
	if behind == nil {
		now.endpoints = endpointsOf(slice)
	}
	now.readError = ""
	if err = errors.Join(err, behind); err != nil {
		now.readError = err.Error()
	}
	if now.readError != "" && before.readError == "" && ctx.Err() == nil {
		a.log.Info("cannot read the addresses of the API server, so images may be requested from them; repair "+
			"the env-injector's ClusterRole with helm upgrade", logkey.Error, now.readError)
	}
	a.latest.Store(&now)
}

func parseAddresses(texts []string) (all []netip.Addr) {
	for _, text := range texts {
		if address, err := netip.ParseAddr(text); err == nil {
			all = append(all, address.Unmap())
		}
	}
	return all
}

func endpointsOf(slice discoveryv1.EndpointSlice) (all []netip.AddrPort) {
	for _, endpoint := range slice.Endpoints {
		for _, address := range parseAddresses(endpoint.Addresses) {
			for _, port := range slice.Ports {
				if port.Port != nil && *port.Port > 0 && *port.Port <= 65535 {
					all = append(all, netip.AddrPortFrom(address, uint16(*port.Port)))
				}
			}
		}
	}
	return all
}

// IsAPIServer reports whether an address is the API server's Service or a replica. For a replica the port must match,
// too: in small clusters a registry can run on the same machine.
func (a *Addresses) IsAPIServer(to netip.AddrPort) bool {
	known := a.latest.Load()
	return slices.Contains(a.hostFromEnv, to.Addr()) || slices.Contains(known.serviceIPs, to.Addr()) ||
		slices.Contains(known.endpoints, to)
}

// IsReplica reports whether an address is that of a replica, from which the API server sends requests.
func (a *Addresses) IsReplica(from netip.Addr) bool {
	return slices.ContainsFunc(a.latest.Load().endpoints,
		func(replica netip.AddrPort) bool { return replica.Addr() == from })
}
