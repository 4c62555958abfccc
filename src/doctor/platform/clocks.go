package platform

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
)

const (
	// maxClockSkew is the difference from which tokens and certificates are rejected as not valid yet.
	maxClockSkew = 2 * time.Minute
	// leaseDelay is how old the lease of a node with a right clock can be: it is renewed every ten seconds.
	leaseDelay = time.Minute
	leaseSpace = "kube-node-lease"
)

// Clock compares the clock of the API server with that of this machine.
func Clock(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: "the clocks of the API server and of this machine agree",
		Run: func(ctx context.Context) []doctor.Finding {
			before := s.Now()
			_, at, err := s.Server.Version(ctx)
			if err != nil || at.IsZero() {
				return nil // the check of the API server reports the error
			}
			// The answer was made between the two readings, and its header has whole seconds.
			skew := at.Sub(before)
			if after := s.Now(); skew > 0 {
				skew = max(at.Sub(after), 0)
			}
			if skew.Abs() <= maxClockSkew {
				return nil
			}
			return []doctor.Finding{{Severity: doctor.Warning, What: fmt.Sprintf(
				"the clock of the API server differs from the one of this machine by %s", skew.Round(time.Second)),
				Why: "tokens and certificates are rejected as expired, or as not valid yet",
				Try: "find out which clock is wrong, and synchronize it with a time server"}}
		}}
}

var listLeases = doctor.Right{Verb: "list", Group: "coordination.k8s.io", Resource: "leases", Namespace: leaseSpace}

// NodeClocks compares the clocks of nodes, which are in their leases, with the one of the API server.
func NodeClocks(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: "the clocks of the nodes agree with the API server's",
		Needs: []doctor.Right{listNodes, listLeases},
		Run: func(ctx context.Context) []doctor.Finding {
			var nodes corev1.NodeList
			if _, err := s.List(ctx, &nodes); err != nil {
				return cluster.ReadFailure(err, listNodes)
			}
			var leases coordinationv1.LeaseList
			if _, err := s.List(ctx, &leases, client.InNamespace(leaseSpace)); err != nil {
				return cluster.ReadFailure(err, listLeases)
			}
			_, now, err := s.Server.Version(ctx)
			if err != nil || now.IsZero() {
				return nil
			}
			return compareLeases(nodes.Items, leases.Items, now)
		}}
}

// compareLeases returns a finding if leases of ready nodes were renewed in the future, or long ago. The node stays
// ready in both cases, because the API server uses its own clock.
func compareLeases(nodes []corev1.Node, leases []coordinationv1.Lease, now time.Time) []doctor.Finding {
	ready := map[string]bool{}
	for i := range nodes {
		ready[nodes[i].Name] = isReady(&nodes[i])
	}
	var ahead, behind []string
	for _, lease := range leases {
		if lease.Spec.RenewTime == nil || !ready[lease.Name] {
			continue
		}
		skew := lease.Spec.RenewTime.Sub(now)
		text := fmt.Sprintf("%s (%s)", lease.Name, skew.Round(time.Second))
		switch {
		case skew > leaseDelay:
			ahead = append(ahead, text)
		case skew < -(leaseDelay + maxClockSkew):
			behind = append(behind, text)
		}
	}
	var found []doctor.Finding
	for _, wrong := range []struct {
		word  string
		names []string
	}{{"ahead of", ahead}, {"behind", behind}} {
		if len(wrong.names) > 0 {
			found = append(found, doctor.Finding{Severity: doctor.Error,
				What: "the clocks of nodes are " + wrong.word + " the API server's: " + shortList(wrong.names),
				Why:  "Entra ID rejects tokens of pods on these nodes (AADSTS700024), and pods reject certificates",
				Try:  "synchronize the clocks of these nodes with a time server"})
		}
	}
	return found
}
