package platform

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
)

var listNodes = doctor.Right{Verb: "list", Resource: "nodes"}

// Nodes checks the kubelets, and that nodes for the images exist.
func Nodes(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: "the nodes are ready, run Linux and have supported kubelets",
		Needs: []doctor.Right{listNodes},
		Run: func(ctx context.Context) []doctor.Finding {
			var list corev1.NodeList
			complete, err := s.List(ctx, &list)
			if err != nil {
				return cluster.ReadFailure(err, listNodes)
			}
			found := checkNodes(list.Items)
			if !complete {
				found = append(found, doctor.Finding{Severity: doctor.OK,
					What: fmt.Sprintf("only the first %d nodes were checked", len(list.Items))})
			}
			return found
		}}
}

func checkNodes(nodes []corev1.Node) []doctor.Finding {
	var old, notReady []string
	ready := 0
	for i := range nodes {
		node := &nodes[i]
		info := node.Status.NodeInfo
		if info.OperatingSystem == "windows" {
			continue
		}
		if v, err := version.ParseGeneric(info.KubeletVersion); err == nil && !isAtLeast(v, minKubernetes) {
			old = append(old, node.Name+" ("+info.KubeletVersion+")")
		}
		if isReady(node) {
			ready++
		} else {
			notReady = append(notReady, node.Name)
		}
	}
	var found []doctor.Finding
	if ready == 0 {
		found = append(found, doctor.Finding{Severity: doctor.Error, What: "no node with Linux is ready",
			Why: "the pods of akv2k8s can't run", Try: "see the conditions with: kubectl describe nodes"})
	} else if len(notReady) > 0 {
		found = append(found, doctor.Finding{Severity: doctor.Warning, What: "nodes are not ready: " +
			shortList(notReady), Why: "pods on them get no values",
			Try: "see the conditions with: kubectl describe nodes"})
	}
	if len(old) > 0 {
		found = append(found, doctor.Finding{Severity: doctor.Error, What: "kubelets are too old: " + shortList(old),
			Why: "akv2k8s needs Kubernetes " + minKubernetes + " or newer", Try: "upgrade these nodes"})
	}
	return found
}

func isReady(node *corev1.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
