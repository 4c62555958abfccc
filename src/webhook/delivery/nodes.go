package delivery

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Nodes knows the nodes of the cluster, and which of them mount images as volumes. It is safe for concurrent use.
type Nodes struct {
	mu sync.RWMutex
	// supported and unsupported are the nodes by name, as Strip leaves them.
	supported   map[string]*corev1.Node
	unsupported map[string]unsupportedNode
	synced      func() bool
}

// unsupportedNode is a node that can't mount an image, with the reason.
type unsupportedNode struct {
	*corev1.Node
	reason Reason
}

// NewNodes returns Nodes that know no node yet.
func NewNodes() *Nodes {
	return &Nodes{supported: map[string]*corev1.Node{}, unsupported: map[string]unsupportedNode{}}
}

// NodesOf returns Nodes that know these nodes, and follow no changes.
func NodesOf(all []corev1.Node) *Nodes {
	n := NewNodes()
	n.synced = func() bool { return true }
	for i := range all {
		n.storeNode(&all[i])
	}
	return n
}

// NodeDecision returns whether a node can mount images: the reason is ReasonSupported, or says why not.
func NodeDecision(node *corev1.Node) Decision {
	reason := unsupportedReason(node)
	if reason == "" {
		return Decision{Mode: ModeImage, Reason: ReasonSupported, Node: node.Name}
	}
	return Decision{Mode: ModeImage, Reason: reason, Version: unsupportedNode{node, reason}.version(), Node: node.Name}
}

// Watch follows the nodes of the cluster until the cache stops. Until all of them are known, no pod gets an image
// volume by ModeAuto. The cache must have Strip as the transform of nodes.
func (n *Nodes) Watch(ctx context.Context, informers cache.Informers) error {
	nodes, err := informers.GetInformer(ctx, &corev1.Node{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching the nodes: %w", err)
	}
	registration, err := nodes.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { n.storeNode(o) },
		UpdateFunc: func(_, o any) { n.storeNode(o) },
		DeleteFunc: func(o any) {
			if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = last.Obj
			}
			n.removeNode(o)
		},
	})
	if err != nil {
		return fmt.Errorf("watching the nodes: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.synced = registration.HasSynced
	return nil
}

// Strip keeps what a decision needs of a node, and the resourceVersion for the informer. A node has about 15 KiB.
func Strip(o any) (any, error) {
	node, ok := o.(*corev1.Node)
	if !ok {
		return o, nil
	}
	info := node.Status.NodeInfo
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion,
			Labels: node.Labels},
		Spec: corev1.NodeSpec{Taints: node.Spec.Taints},
		Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KubeletVersion: info.KubeletVersion,
			ContainerRuntimeVersion: info.ContainerRuntimeVersion, OperatingSystem: info.OperatingSystem}},
	}, nil
}

func (n *Nodes) storeNode(o any) {
	node, ok := o.(*corev1.Node)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.supported, node.Name)
	delete(n.unsupported, node.Name)
	if node.Status.NodeInfo.OperatingSystem == "windows" {
		return // the env-injector rejects pods for Windows
	}
	if reason := unsupportedReason(node); reason != "" {
		n.unsupported[node.Name] = unsupportedNode{node, reason}
		return
	}
	n.supported[node.Name] = node
}

func (n *Nodes) removeNode(o any) {
	if node, ok := o.(*corev1.Node); ok {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.supported, node.Name)
		delete(n.unsupported, node.Name)
	}
}

// unsupportedReason returns why a node can't mount an image, empty if it can.
func unsupportedReason(node *corev1.Node) Reason {
	info := node.Status.NodeInfo
	if !isAtLeast(info.KubeletVersion, requirements()[ModeImage].version) {
		return ReasonKubelet
	}
	name, runtime, _ := strings.Cut(info.ContainerRuntimeVersion, "://")
	if first, known := map[string]string{"containerd": "2.1", "cri-o": "1.31"}[name]; !known ||
		!isAtLeast(runtime, first) {
		return ReasonRuntime
	}
	return ""
}

// isAtLeast compares versions by major and minor. A version that can't be parsed is older.
func isAtLeast(text, first string) bool {
	v, err := version.ParseGeneric(text)
	if err != nil {
		return false
	}
	return version.MajorMinor(v.Major(), v.Minor()).AtLeast(version.MustParseGeneric(first))
}

// imageVolumeReason returns ReasonSupported if every node on which the pod may run mounts images, or the reason why
// not.
func (n *Nodes) imageVolumeReason(pod *corev1.Pod) Decision {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if reason := n.unknownReason(pod); reason != "" {
		return Decision{Reason: reason}
	}
	rules := placementOf(pod)
	for _, node := range n.unsupported {
		if rules.allowsNode(node.Node) {
			return Decision{Reason: node.reason, Version: node.version(), Node: node.Name}
		}
	}
	for _, node := range n.supported {
		if rules.allowsNode(node) {
			return Decision{Reason: ReasonSupported}
		}
	}
	return Decision{Reason: ReasonNoNode}
}

// kubeletReason returns ReasonSupported if every node on which the pod may run has at least a version of the kubelet
// (MAJOR.MINOR), or the reason why not.
func (n *Nodes) kubeletReason(pod *corev1.Pod, first string) Decision {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if reason := n.unknownReason(pod); reason != "" {
		return Decision{Reason: reason}
	}
	rules, found := placementOf(pod), Decision{Reason: ReasonNoNode}
	for _, node := range n.unsupported {
		if !rules.allowsNode(node.Node) {
			continue
		}
		if kubelet := node.Status.NodeInfo.KubeletVersion; !isAtLeast(kubelet, first) {
			return Decision{Reason: ReasonKubelet, Version: kubelet, Node: node.Name}
		}
		found.Reason = ReasonSupported
	}
	for _, node := range n.supported { // their kubelets are newer
		if rules.allowsNode(node) {
			found.Reason = ReasonSupported
		}
	}
	return found
}

// unknownReason returns why the nodes of the pod are not known, empty if they are. The caller holds the lock.
func (n *Nodes) unknownReason(pod *corev1.Pod) Reason {
	switch {
	case n.synced == nil || !n.synced():
		return ReasonNodesUnknown
	case selectorSize(pod) > limits.NodeSelectorTexts:
		return ReasonSelector
	}
	return ""
}

// version is the version that is too old.
func (u unsupportedNode) version() string {
	if u.reason == ReasonKubelet {
		return u.Status.NodeInfo.KubeletVersion
	}
	return u.Status.NodeInfo.ContainerRuntimeVersion
}

// selectorSize is the number of texts in the pod's rules for nodes.
func selectorSize(pod *corev1.Pod) int {
	size := 2*len(pod.Spec.NodeSelector) + len(pod.Spec.Tolerations)
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil &&
		a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		for _, term := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
			for _, requirements := range [][]corev1.NodeSelectorRequirement{term.MatchExpressions, term.MatchFields} {
				for _, r := range requirements {
					size += 1 + len(r.Values)
				}
			}
		}
	}
	return size
}

// placement are the rules of a pod for the nodes on which it may run.
type placement struct {
	nodeName    string
	affinity    nodeaffinity.RequiredNodeAffinity
	tolerations []corev1.Toleration
}

func placementOf(pod *corev1.Pod) placement {
	return placement{pod.Spec.NodeName, nodeaffinity.GetRequiredNodeAffinity(pod), pod.Spec.Tolerations}
}

// allowsNode reports whether the pod may run on a node, now or after a change of the node's condition.
func (p placement) allowsNode(node *corev1.Node) bool {
	if p.nodeName != "" {
		return p.nodeName == node.Name
	}
	// Rules that can't be parsed match no node, and the API server rejects the pod later.
	if matches, err := p.affinity.Match(node); err != nil || !matches {
		return false
	}
	for _, taint := range node.Spec.Taints {
		if isPermanent(taint) && !p.toleratesTaint(taint) {
			return false
		}
	}
	return true
}

func (p placement) toleratesTaint(taint corev1.Taint) bool {
	for _, toleration := range p.tolerations {
		if toleration.ToleratesTaint(logr.Discard(), &taint, true) {
			return true
		}
	}
	return false
}

// isPermanent reports whether a taint keeps pods away, and is not one of those by which Kubernetes and cloud providers
// mark a node that is not ready, under pressure or cordoned: a pod can wait until such a taint is gone.
func isPermanent(taint corev1.Taint) bool {
	return taint.Effect != corev1.TaintEffectPreferNoSchedule && !strings.HasPrefix(taint.Key, "node.kubernetes.io/") &&
		!strings.HasPrefix(taint.Key, "node.cloudprovider.kubernetes.io/")
}
