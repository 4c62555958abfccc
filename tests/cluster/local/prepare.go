package local

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/akv2k8s/akv2k8s/tests/cluster/host"
	"github.com/akv2k8s/akv2k8s/tests/cluster/pki"
)

// prepare makes the files, the certificates and the namespaces.
func (c *Cluster) prepare(ctx context.Context) error {
	subnet, err := c.id().Subnet()
	if err != nil {
		return err
	}
	c.spaces = host.Namespaces{ID: c.id(), Work: c.Work, Subnet: subnet}
	for _, folder := range []string{"log", "cni", "run", "pods-log"} {
		if err := os.MkdirAll(filepath.Join(c.Work, folder), 0o755); err != nil {
			return err
		}
	}
	if err := c.certificates(); err != nil {
		return err
	}
	for name, content := range c.files() {
		if err := os.WriteFile(filepath.Join(c.Work, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	if err := host.MakeCgroups(c.id()); err != nil {
		return err
	}
	return c.spaces.Open(ctx, filepath.Join(c.Work, "azure.json"))
}

func (c *Cluster) certificates() error {
	folder := filepath.Join(c.Work, "pki")
	ca, err := pki.NewAuthority(folder, "ca")
	if err != nil {
		return err
	}
	ip := c.spaces.NodeIP()
	identities := []pki.Identity{
		{File: "apiserver", Name: "kube-apiserver",
			Hosts: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc",
				"kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1", "10.96.0.1", ip}},
		{File: "admin", Name: "admin", Groups: []string{"system:masters"}},
		{File: "controllers", Name: "system:kube-controller-manager"},
		{File: "scheduler", Name: "system:kube-scheduler"},
		{File: "proxy", Name: "system:kube-proxy"},
		{File: "kubelet", Name: "system:node:" + node, Groups: []string{"system:nodes"}, Hosts: []string{node, ip}},
		{File: "kubelet2", Name: "system:node:" + OldNode, Groups: []string{"system:nodes"},
			Hosts: []string{OldNode, ip}},
	}
	for _, identity := range identities {
		if err := ca.Issue(identity); err != nil {
			return fmt.Errorf("issuing the certificate of %s: %w", identity.File, err)
		}
		if identity.File == "apiserver" {
			continue
		}
		kubeconfig := filepath.Join(c.Work, identity.File+".kubeconfig")
		if err := pki.WriteKubeconfig(kubeconfig, "https://"+ip+":6443", folder, identity.File); err != nil {
			return err
		}
	}
	return pki.ServiceAccountKeys(folder)
}

// files are the configuration files by name in the work folder.
func (c *Cluster) files() map[string]string {
	fill := strings.NewReplacer("WORK", c.Work, "CGROUP", c.id().Cgroup())
	return map[string]string{
		"azure.json":      AzureJSON(),
		"resolv.conf":     "nameserver 10.96.0.10\n",
		"containerd.toml": fill.Replace(containerdConfig),
		"kubelet.yaml":    fill.Replace(kubeletConfig),
		"cni/10.conflist": fill.Replace(cniConfig),
		"audit.yaml":      auditPolicy,
	}
}

// AzureJSON is the file that AKS writes on a node whose cluster has a user-assigned managed identity.
func AzureJSON() string {
	content, _ := json.MarshalIndent(map[string]any{
		"cloud": "AzurePublicCloud", "tenantId": TenantID, "aadClientId": "msi", "aadClientSecret": "msi",
		"subscriptionId": "33333333-3333-4333-8333-333333333333", "resourceGroup": "MC_group_cluster_westeurope",
		"location":                    "westeurope",
		"useManagedIdentityExtension": true, "userAssignedIdentityID": KubeletIdentityClientID,
		"useInstanceMetadata": true,
	}, "", "  ")
	return string(content)
}

const containerdConfig = `version = 3
root = "WORK/containerd/root"
state = "WORK/containerd/state"
[grpc]
  address = "WORK/run/containerd.sock"
[ttrpc]
  address = "WORK/run/containerd.sock.ttrpc"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "localhost/pause:1"
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = "WORK/certs.d"
[plugins.'io.containerd.cri.v1.runtime']
  # Lowering oom_score_adj needs a capability that a sandboxed machine may lack.
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "WORK/cni"
`

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: WORK/pki/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /CGROUP
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://WORK/run/containerd.sock
tlsCertFile: WORK/pki/kubelet.crt
tlsPrivateKeyFile: WORK/pki/kubelet.key
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: WORK/resolv.conf
podLogsDir: WORK/pods-log
volumePluginDir: WORK/kubelet/plugins
evictionHard: {nodefs.available: "1%", imagefs.available: "1%", memory.available: "100Mi"}
imageGCHighThresholdPercent: 100
maxPods: 500
podsPerCore: 0
registerWithTaints: []
serializeImagePulls: false
syncFrequency: 10s
nodeStatusUpdateFrequency: 5s
`

const cniConfig = `{"cniVersion": "0.4.0", "name": "akv2k8s", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/23"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "WORK/cni-ipam"}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
`

// auditPolicy keeps who did what to which object, never the objects: they may be Secrets.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, resources: [{group: coordination.k8s.io}, {group: discovery.k8s.io}]}
- {level: None, users: ["system:apiserver"]}
- {level: Metadata, resources: [{group: "", resources: [secrets, "serviceaccounts/token"]}, {group: spv.no}, {group: authentication.k8s.io}]}
- {level: Metadata, verbs: [create, update, patch, delete, deletecollection]}
- {level: None}
`
