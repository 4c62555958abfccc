package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/akv2k8s/akv2k8s/tests/cluster/host"
)

func (c *Cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.Work}, parts...)...)
}

func (c *Cluster) start(module, name string, args ...string) error {
	return c.spaces.Start(name, []string{c.bin["containerd"]}, filepath.Join(c.bin[module], name), args...)
}

// control starts the control plane and containerd, which do not wait for each other.
func (c *Cluster) control(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error { return c.images(ctx) })
	if err := c.start("containerd", "server", "--data-dir", c.path("etcd"), "--unsafe-no-fsync", "--log-level", "warn",
		"--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
		"--listen-peer-urls", "http://127.0.0.1:2380"); err != nil {
		return err
	}
	if err := c.startAPIServer(ctx); err != nil {
		return err
	}
	if err := c.startControllers(); err != nil {
		return err
	}
	return group.Wait()
}

func (c *Cluster) startAPIServer(ctx context.Context) error {
	if err := c.start("kubernetes", "kube-apiserver", c.apiserverArgs()...); err != nil {
		return err
	}
	return c.await(ctx, 90*time.Second, "the API server", func(client kubernetes.Interface) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// CrashAPIServer kills the API server, and starts it again; it returns when that is ready.
func (c *Cluster) CrashAPIServer(ctx context.Context) error {
	pid, ok := host.Running(c.id(), c.Work, "kube-apiserver")
	if !ok {
		return errors.New("the API server does not run")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing the API server: %w", err)
	}
	for there := true; there && ctx.Err() == nil; _, there = host.Running(c.id(), c.Work, "kube-apiserver") {
		time.Sleep(50 * time.Millisecond) // until then its port is taken
	}
	return c.startAPIServer(ctx)
}

func (c *Cluster) apiserverArgs() []string {
	p := func(name string) string { return c.path("pki", name) }
	return []string{
		"--etcd-servers=http://127.0.0.1:2379", "--bind-address=0.0.0.0", "--secure-port=6443",
		"--advertise-address=" + c.spaces.NodeIP(), "--service-cluster-ip-range=10.96.0.0/16",
		"--tls-cert-file=" + p("apiserver.crt"), "--tls-private-key-file=" + p("apiserver.key"),
		"--client-ca-file=" + p("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + p("sa.pub"),
		"--service-account-signing-key-file=" + p("sa.key"), "--authorization-mode=Node,RBAC",
		"--allow-privileged=true",
		"--kubelet-preferred-address-types=InternalIP", "--kubelet-client-certificate=" + p("admin.crt"),
		"--kubelet-client-key=" + p("admin.key"), "--enable-admission-plugins=NodeRestriction",
		"--audit-policy-file=" + c.path("audit.yaml"), "--audit-log-path=" + c.AuditLog(), "--audit-log-mode=blocking",
		"--audit-log-maxsize=4000", // megabytes: it is read as one file
	}
}

func (c *Cluster) startControllers() error {
	kubeconfig := c.path("controllers.kubeconfig")
	if err := c.start("kubernetes", "kube-controller-manager",
		"--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
		"--root-ca-file="+c.path("pki", "ca.crt"), "--service-account-private-key-file="+c.path("pki", "sa.key"),
		"--use-service-account-credentials", "--cluster-signing-cert-file="+c.path("pki", "ca.crt"),
		"--cluster-signing-key-file="+c.path("pki", "ca.key"), "--leader-elect=false"); err != nil {
		return err
	}
	kubeconfig = c.path("scheduler.kubeconfig")
	return c.start("kubernetes", "kube-scheduler", "--kubeconfig="+kubeconfig,
		"--authentication-kubeconfig="+kubeconfig,
		"--authorization-kubeconfig="+kubeconfig, "--leader-elect=false")
}

// node starts kubelet and kube-proxy and waits until the node takes pods.
func (c *Cluster) node(ctx context.Context) error {
	if err := c.start("kubernetes", "kubelet", "--config="+c.path("kubelet.yaml"),
		"--kubeconfig="+c.path("kubelet.kubeconfig"),
		"--hostname-override="+node, "--node-ip="+c.spaces.NodeIP(), "--root-dir="+c.path("kubelet")); err != nil {
		return err
	}
	proxy := []string{"--kubeconfig=" + c.path("proxy.kubeconfig"), "--cluster-cidr=10.244.0.0/16",
		// sysctls may not be writable
		"--hostname-override=" + node, "--proxy-mode=nftables", "--conntrack-max-per-core=0",
		"--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0"}
	if gates := c.Kubernetes.ProxyGates; gates != "" {
		proxy = append(proxy, "--feature-gates="+gates)
	}
	if err := c.start("kubernetes", "kube-proxy", proxy...); err != nil {
		return err
	}
	return c.awaitNode(ctx, node)
}

// awaitNode waits until a node takes pods.
func (c *Cluster) awaitNode(ctx context.Context, name string) error {
	return c.await(ctx, 90*time.Second, "node "+name, func(client kubernetes.Interface) error {
		got, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range got.Status.Conditions {
			if condition.Type == "Ready" && condition.Status == "True" {
				return nil
			}
		}
		return fmt.Errorf("node %s is not Ready", name)
	})
}

// client talks to the cluster as its administrator.
func (c *Cluster) client() (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return nil, err
	}
	config.QPS, config.Timeout = -1, 5*time.Second
	return kubernetes.NewForConfig(config)
}

// await asks until there is no error any more, and says how long it took.
func (c *Cluster) await(ctx context.Context, patience time.Duration, what string,
	ask func(kubernetes.Interface) error) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if err = ask(client); err == nil {
			c.say("%s is ready", what)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting %s for %s: %w", patience, what, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// healthy says whether every part answers.
func (c *Cluster) healthy(ctx context.Context) bool {
	client, err := c.client()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	dns, err := client.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
	return err == nil && dns.Status.AvailableReplicas > 0 && len(c.missing()) == 0
}
