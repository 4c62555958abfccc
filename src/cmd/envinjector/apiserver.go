package main

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
)

// apiServer has the addresses of the API server: its Service and its replicas. A registry can't have them, and
// requests from a replica have no limits. It refreshes them, because replicas change.
type apiServer struct {
	live client.Reader
	log  logr.Logger
	// told is the IP address in KUBERNETES_SERVICE_HOST, if it has one.
	told  []netip.Addr
	known atomic.Pointer[places]
}

// places are the addresses from the last refresh.
type places struct {
	service []netip.Addr
	// behind are the replicas with their serving port.
	behind []netip.AddrPort
	// failed is the error of the last refresh; empty if it succeeded.
	failed string
}

const (
	// lookEvery is the time between two refreshes.
	lookEvery = 10 * time.Second
	// lookPatience limits the time of one refresh.
	lookPatience = 5 * time.Second
)

// kubernetes is the name of the Service and of the EndpointSlice that the API server maintains for itself.
func kubernetes() types.NamespacedName {
	return types.NamespacedName{Namespace: corev1.NamespaceDefault, Name: "kubernetes"}
}

func newAPIServer(live client.Reader, log logr.Logger, host string) *apiServer {
	a := &apiServer{live: live, log: log}
	if address, err := netip.ParseAddr(host); err == nil { // else the program runs outside a cluster, or host is a name
		a.told = append(a.told, address.Unmap())
	}
	a.known.Store(&places{})
	return a
}

// NeedLeaderElection implements controller-runtime's interface.
func (*apiServer) NeedLeaderElection() bool { return false }

// Start refreshes the addresses until the context ends.
func (a *apiServer) Start(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		a.look(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look reads the Service and the EndpointSlice. If one can't be read, its addresses stay unchanged, and the
// first error is logged.
func (a *apiServer) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	before := a.known.Load()
	now := *before
	var service corev1.Service
	var slice discoveryv1.EndpointSlice
	err := a.live.Get(ctx, kubernetes(), &service)
	if err == nil {
		now.service = addresses(service.Spec.ClusterIPs)
	}
	behind := a.live.Get(ctx, kubernetes(), &slice)
	if behind == nil {
		now.behind = replicas(slice)
	}
	now.failed = ""
	if err = errors.Join(err, behind); err != nil {
		now.failed = err.Error()
	}
	if now.failed != "" && before.failed == "" && ctx.Err() == nil {
		a.log.Info("cannot read the addresses of the API server, so images may be requested from them; repair "+
			"the env-injector's ClusterRole with helm upgrade", "error", now.failed)
	}
	a.known.Store(&now)
}

func addresses(texts []string) (all []netip.Addr) {
	for _, text := range texts {
		if address, err := netip.ParseAddr(text); err == nil {
			all = append(all, address.Unmap())
		}
	}
	return all
}

func replicas(slice discoveryv1.EndpointSlice) (all []netip.AddrPort) {
	for _, endpoint := range slice.Endpoints {
		for _, address := range addresses(endpoint.Addresses) {
			for _, port := range slice.Ports {
				if port.Port != nil && *port.Port > 0 && *port.Port <= 65535 {
					all = append(all, netip.AddrPortFrom(address, uint16(*port.Port)))
				}
			}
		}
	}
	return all
}

// is reports whether an address is the API server's Service or a replica. For a replica the port must match,
// too: in small clusters a registry can run on the same machine.
func (a *apiServer) is(to netip.AddrPort) bool {
	known := a.known.Load()
	return slices.Contains(a.told, to.Addr()) || slices.Contains(known.service, to.Addr()) ||
		slices.Contains(known.behind, to)
}

// calls reports whether an address is that of a replica, from which the API server sends requests.
func (a *apiServer) calls(from netip.Addr) bool {
	return slices.ContainsFunc(a.known.Load().behind,
		func(replica netip.AddrPort) bool { return replica.Addr() == from })
}
