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

// apiServer knows where the API server is: the addresses of its Service, which no registry may have, and those behind
// it, which change when its replicas do.
type apiServer struct {
	live client.Reader
	log  logr.Logger
	// told is what every container is told of it.
	told  []netip.Addr
	known atomic.Pointer[places]
}

// places are where it was found last.
type places struct {
	service []netip.Addr
	// behind are the replicas, with the port that they serve.
	behind []netip.AddrPort
	// failed says why nothing newer is known.
	failed string
}

const (
	// lookEvery is how often the API server's own addresses are read.
	lookEvery = 10 * time.Second
	// lookPatience bounds one such reading.
	lookPatience = 5 * time.Second
)

// kubernetes is the Service, and the EndpointSlice, that each API server keeps of itself.
func kubernetes() types.NamespacedName {
	return types.NamespacedName{Namespace: corev1.NamespaceDefault, Name: "kubernetes"}
}

func newAPIServer(live client.Reader, log logr.Logger, host string) *apiServer {
	a := &apiServer{live: live, log: log}
	if address, err := netip.ParseAddr(host); err == nil { // else we are outside of a cluster, or are told a name
		a.told = append(a.told, address.Unmap())
	}
	a.known.Store(&places{})
	return a
}

// NeedLeaderElection implements controller-runtime's interface.
func (*apiServer) NeedLeaderElection() bool { return false }

// Start looks again and again until the context ends.
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

// look reads both objects. What can't be read stays as it was, and is said once.
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
		a.log.Info("cannot read where the API server is, so images may be looked for there; repair the "+
			"env-injector's ClusterRole by helm upgrade", "error", now.failed)
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

// is says whether somewhere is the API server: its Service, or a replica. Of a replica's machine only that port is
// meant, since small clusters have registries there.
func (a *apiServer) is(to netip.AddrPort) bool {
	known := a.known.Load()
	return slices.Contains(a.told, to.Addr()) || slices.Contains(known.service, to.Addr()) ||
		slices.Contains(known.behind, to)
}

// calls says whether requests from there are a replica's.
func (a *apiServer) calls(from netip.Addr) bool {
	return slices.ContainsFunc(a.known.Load().behind,
		func(replica netip.AddrPort) bool { return replica.Addr() == from })
}
