package namespaces

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/webhook/delivery"
)

var listNodes = doctor.Right{Verb: "list", Resource: "nodes"}

// Delivery checks that the configured delivery of the injector works on the nodes.
func Delivery(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: "the injector can be delivered to pods on every node",
		Needs: []doctor.Right{listNodes},
		Run: func(ctx context.Context) []doctor.Finding {
			var nodes corev1.NodeList
			if _, err := s.List(ctx, &nodes); err != nil {
				return cluster.ReadFailure(err, listNodes)
			}
			info, _, err := s.Server.Version(ctx)
			if err != nil {
				return nil // the check of the API server reports it
			}
			return s.ForEach(ctx, func(i *cluster.Installation) []doctor.Finding {
				if i.Injector == nil || i.IsV1() {
					return nil
				}
				return checkDelivery(ctx, s, i, nodesAndVersion{nodes.Items, info})
			})
		}}
}

// nodesAndVersion are what a delivery depends on.
type nodesAndVersion struct {
	nodes []corev1.Node
	info  *version.Info
}

func checkDelivery(ctx context.Context, s *cluster.State, i *cluster.Installation,
	on nodesAndVersion) []doctor.Finding {
	mode, err := delivery.ParseMode(cluster.Flag(i.Injector, "delivery"))
	if err != nil {
		mode = delivery.ModeAuto // the default of the flag
	}
	if mode == delivery.ModeInit {
		return doctor.Passed("the injector gets into pods by an init container, which works on every node")
	}
	chooser := delivery.Chooser{Default: mode, Nodes: delivery.NodesOf(on.nodes), APIServer: &delivery.ServerVersion{
		Read: func() (*version.Info, error) { return on.info, nil }, Clock: s.Now}}
	decision, err := chooser.Choose(ctx, testPod("default", "x", true), true)
	switch {
	case err != nil:
		f := doctor.FromError("deployment/"+i.Injector.Name, err)
		f.Why = "pods that can run on every node are denied" + perNode(on.nodes)
		f.Try = "set env_injector.delivery to auto"
		return []doctor.Finding{f}
	case decision.Mode == delivery.ModeImage:
		return doctor.Passed("the injector gets into pods by an image volume")
	}
	decision.Mode = delivery.ModeImage // which of its requirements is missing
	return doctor.Passed("the injector gets into pods by an init container, because " + decision.Explain() +
		perNode(on.nodes))
}

// perNode names the nodes that can't mount images, with the reason, at most a few.
func perNode(nodes []corev1.Node) string {
	var without []string
	for i := range nodes {
		if d := delivery.NodeDecision(&nodes[i]); d.Reason != delivery.ReasonSupported &&
			nodes[i].Status.NodeInfo.OperatingSystem != "windows" {
			without = append(without, fmt.Sprintf("%s (%s %s)", d.Node, d.Reason, d.Version))
		}
	}
	if len(without) == 0 {
		return ""
	}
	slices.Sort(without)
	text := "; nodes without image volumes: " + strings.Join(without[:min(3, len(without))], ", ")
	if len(without) > 3 {
		text += fmt.Sprintf(" and %d more", len(without)-3)
	}
	return text
}
