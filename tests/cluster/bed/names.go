package bed

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/akv2k8s/akv2k8s/tests/cluster/azurenames"
)

// Marks around what we put into a Corefile that is not ours.
const (
	marker    = "    # akv2k8s test bed: begin\n"
	markerEnd = "    # akv2k8s test bed: end\n"
)

// rewriteNames puts the names of Azure into the cluster's CoreDNS, or takes them out.
func rewriteNames(ctx context.Context, c Config, kubeconfig string, in bool) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	maps := client.CoreV1().ConfigMaps("kube-system")
	dns, err := maps.Get(ctx, "coredns", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading CoreDNS's configuration: %w; the test bed needs CoreDNS", err)
	}
	wanted := withoutNames(dns.Data["Corefile"])
	if in {
		wanted = withNames(wanted)
	}
	if wanted == dns.Data["Corefile"] {
		return nil
	}
	dns.Data["Corefile"] = wanted
	if _, err := maps.Update(ctx, dns, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("writing CoreDNS's configuration: %w", err)
	}
	return c.Run(ctx, "kubectl", "--kubeconfig", kubeconfig, "-n", "kube-system", "rollout", "restart",
		"deployment/coredns")
}

// withNames puts our block first into the first server block.
func withNames(corefile string) string {
	head, rest, _ := strings.Cut(corefile, "{\n")
	return head + "{\n" + marker + azurenames.Rewrites() + markerEnd + rest
}

func withoutNames(corefile string) string {
	head, rest, found := strings.Cut(corefile, marker)
	if !found {
		return corefile
	}
	_, tail, _ := strings.Cut(rest, markerEnd)
	return head + tail
}
