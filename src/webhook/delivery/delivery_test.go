package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/webhook/delivery"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// informer is an informer whose events the test sends, and the cache that has it.
type informer struct {
	cache.Informers
	cache.Informer
	toolscache.ResourceEventHandler
	unsynced bool
	err      error
}

func (i *informer) GetInformer(_ context.Context, object client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	if _, ok := object.(*corev1.Node); !ok {
		return nil, errors.New("another kind")
	}
	return i, nil
}

func (i *informer) AddEventHandler(handler toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	i.ResourceEventHandler = handler
	return i, i.err
}

func (i *informer) HasSynced() bool { return !i.unsynced }

func (i *informer) HasSyncedChecker() toolscache.DoneChecker { return nil }

// add sends a node as the informer's transform leaves it.
func (i *informer) add(t *testing.T, node *corev1.Node) {
	t.Helper()
	stripped, err := delivery.Strip(node)
	require.NoError(t, err)
	i.OnAdd(stripped, true)
}

// node is a node with a kubelet and a container runtime. Its labels have the form name=value.
func node(name, kubelet, runtime string, labels ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	n.Status.NodeInfo = corev1.NodeSystemInfo{KubeletVersion: kubelet, ContainerRuntimeVersion: runtime, OperatingSystem: "linux"}
	for _, label := range labels {
		key, value, _ := strings.Cut(label, "=")
		n.Labels[key] = value
	}
	return n
}

func tainted(n *corev1.Node, key string, effect corev1.TaintEffect) *corev1.Node {
	n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Value: "x", Effect: effect})
	return n
}

const (
	newKubelet = "v1.36.2"
	containerd = "containerd://2.1.4"
)

// chooser is a Chooser for a cluster with an API server and nodes.
func chooser(t *testing.T, mode delivery.Mode, apiServer string, nodes ...*corev1.Node) (delivery.Chooser, *informer) {
	t.Helper()
	events := &informer{}
	c := delivery.Chooser{Default: mode, Nodes: delivery.NewNodes(), APIServer: serverVersion(apiServer)}
	require.NoError(t, c.Nodes.Watch(t.Context(), events))
	for _, n := range nodes {
		events.add(t, n)
	}
	return c, events
}

func serverVersion(text string) *delivery.ServerVersion {
	return &delivery.ServerVersion{Clock: time.Now, Read: func() (*version.Info, error) {
		if text == "" {
			return nil, errors.New("no answer")
		}
		return &version.Info{GitVersion: text}, nil
	}}
}

func pod(change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{}
	if change != nil {
		change(p)
	}
	return p
}

func selecting(label string) func(*corev1.Pod) {
	key, value, _ := strings.Cut(label, "=")
	return func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{key: value} }
}

func required(expressions ...corev1.NodeSelectorRequirement) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: expressions}}}}}
	}
}

func TestAutoUsesAnImageVolumeOnlyWhereEveryNodeOfThePodMountsImages(t *testing.T) {
	good, old := node("good", newKubelet, containerd, "pool=new"), node("old", "v1.34.1", containerd, "pool=old")
	class := func(name string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.RuntimeClassName = &name }
	}
	tolerating := func(key string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Tolerations = []corev1.Toleration{{Key: key, Operator: corev1.TolerationOpExists}}
		}
	}
	many := make([]string, limits.NodeSelectorTexts+1)
	for name, c := range map[string]struct {
		apiServer string
		nodes     []*corev1.Node
		pod       func(*corev1.Pod)
		want      delivery.Reason
	}{
		"one node that can":                    {"v1.36.0", []*corev1.Node{good}, nil, delivery.ReasonSupported},
		"CRI-O":                                {"v1.37.0", []*corev1.Node{node("a", "v1.37.1", "cri-o://1.31.0")}, nil, delivery.ReasonSupported},
		"a version with a suffix":              {"v1.36.2-gke.100", []*corev1.Node{node("a", "v1.36.2-gke.100", "containerd://2.1.4-k3s1")}, nil, delivery.ReasonSupported},
		"a pre-release of the first":           {"v1.36.0-rc.1", []*corev1.Node{node("a", "v1.36.0-rc.1", "containerd://2.1.0-beta.0")}, nil, delivery.ReasonSupported},
		"an old API server":                    {"v1.35.9", []*corev1.Node{good}, nil, delivery.ReasonAPIServer},
		"an API server that does not say":      {"", []*corev1.Node{good}, nil, delivery.ReasonAPIServer},
		"an API server of another numbering":   {"main", []*corev1.Node{good}, nil, delivery.ReasonAPIServer},
		"an old kubelet":                       {"v1.36.0", []*corev1.Node{good, old}, nil, delivery.ReasonKubelet},
		"a kubelet with the gate, maybe":       {"v1.36.0", []*corev1.Node{node("a", "v1.35.4", containerd)}, nil, delivery.ReasonKubelet},
		"an old kubelet that is not selected":  {"v1.36.0", []*corev1.Node{good, old}, selecting("pool=new"), delivery.ReasonSupported},
		"an old kubelet that is selected":      {"v1.36.0", []*corev1.Node{good, old}, selecting("pool=old"), delivery.ReasonKubelet},
		"an old containerd":                    {"v1.36.0", []*corev1.Node{node("a", newKubelet, "containerd://2.0.7")}, nil, delivery.ReasonRuntime},
		"containerd 1.7, as Azure names it":    {"v1.36.0", []*corev1.Node{node("a", newKubelet, "containerd://1.7.28-1")}, nil, delivery.ReasonRuntime},
		"an old CRI-O":                         {"v1.36.0", []*corev1.Node{node("a", newKubelet, "cri-o://1.30.9")}, nil, delivery.ReasonRuntime},
		"docker":                               {"v1.36.0", []*corev1.Node{node("a", newKubelet, "docker://28.0.1")}, nil, delivery.ReasonRuntime},
		"a node that says nothing":             {"v1.36.0", []*corev1.Node{node("a", "", "")}, nil, delivery.ReasonKubelet},
		"no node":                              {"v1.36.0", nil, nil, delivery.ReasonNoNode},
		"a pool that has no node now":          {"v1.36.0", []*corev1.Node{good}, selecting("pool=gpu"), delivery.ReasonNoNode},
		"a node of Windows":                    {"v1.36.0", []*corev1.Node{good, {ObjectMeta: metav1.ObjectMeta{Name: "w"}, Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{OperatingSystem: "windows"}}}}, nil, delivery.ReasonSupported},
		"affinity to new nodes":                {"v1.36.0", []*corev1.Node{good, old}, required(corev1.NodeSelectorRequirement{Key: "pool", Operator: corev1.NodeSelectorOpNotIn, Values: []string{"old"}}), delivery.ReasonSupported},
		"affinity that also allows old nodes":  {"v1.36.0", []*corev1.Node{good, old}, required(corev1.NodeSelectorRequirement{Key: "pool", Operator: corev1.NodeSelectorOpExists}), delivery.ReasonKubelet},
		"affinity that can't be parsed":        {"v1.36.0", []*corev1.Node{good}, required(corev1.NodeSelectorRequirement{Key: "pool", Operator: "Near"}), delivery.ReasonNoNode},
		"affinity that is too large":           {"v1.36.0", []*corev1.Node{good}, required(corev1.NodeSelectorRequirement{Key: "pool", Operator: corev1.NodeSelectorOpIn, Values: many}), delivery.ReasonSelector},
		"the name of a node":                   {"v1.36.0", []*corev1.Node{good, old}, func(p *corev1.Pod) { p.Spec.NodeName = "good" }, delivery.ReasonSupported},
		"a taint on the old node":              {"v1.36.0", []*corev1.Node{good, tainted(node("v", "v1.30.0", ""), "virtual-kubelet.io/provider", corev1.TaintEffectNoSchedule)}, nil, delivery.ReasonSupported},
		"a taint that the pod tolerates":       {"v1.36.0", []*corev1.Node{good, tainted(node("v", "v1.30.0", ""), "virtual-kubelet.io/provider", corev1.TaintEffectNoSchedule)}, tolerating("virtual-kubelet.io/provider"), delivery.ReasonKubelet},
		"a taint that only prefers":            {"v1.36.0", []*corev1.Node{good, tainted(node("v", "v1.30.0", ""), "slow", corev1.TaintEffectPreferNoSchedule)}, nil, delivery.ReasonKubelet},
		"an old node that is not ready now":    {"v1.36.0", []*corev1.Node{good, tainted(node("v", "v1.30.0", ""), "node.kubernetes.io/not-ready", corev1.TaintEffectNoSchedule)}, nil, delivery.ReasonKubelet},
		"an old node that starts":              {"v1.36.0", []*corev1.Node{good, tainted(node("v", "v1.30.0", ""), "node.cloudprovider.kubernetes.io/uninitialized", corev1.TaintEffectNoSchedule)}, nil, delivery.ReasonKubelet},
		"a runtime class that is runc":         {"v1.36.0", []*corev1.Node{good}, class("nvidia"), delivery.ReasonSupported},
		"gVisor":                               {"v1.36.0", []*corev1.Node{good}, class("gvisor"), delivery.ReasonRuntimeClass},
		"a runtime class that nobody knows of": {"v1.36.0", []*corev1.Node{good}, class("sandboxed"), delivery.ReasonRuntimeClass},
	} {
		t.Run(name, func(t *testing.T) {
			chosen, _ := chooser(t, delivery.ModeAuto, c.apiServer, c.nodes...)
			got, err := chosen.Choose(t.Context(), pod(c.pod), false)
			require.NoError(t, err, "auto refuses nothing")
			assert.Equal(t, c.want, got.Reason, "%+v", got)
			assert.Equal(t, c.want == delivery.ReasonSupported, got.Mode == delivery.ModeImage)
			assert.Contains(t, delivery.Reasons(), got.Reason)
		})
	}
}

func TestAutoFollowsTheNodes(t *testing.T) {
	c, events := chooser(t, delivery.ModeAuto, "v1.36.0", node("a", newKubelet, containerd))
	is := func(want delivery.Reason) {
		t.Helper()
		got, err := c.Choose(t.Context(), pod(nil), false)
		require.NoError(t, err)
		assert.Equal(t, want, got.Reason)
	}
	is(delivery.ReasonSupported)
	events.add(t, node("b", "v1.34.0", containerd))
	is(delivery.ReasonKubelet)
	events.OnUpdate(nil, node("b", newKubelet, containerd))
	is(delivery.ReasonSupported)
	events.OnUpdate(nil, node("b", newKubelet, "containerd://1.7.0"))
	is(delivery.ReasonRuntime)
	events.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "b", Obj: node("b", newKubelet, "containerd://1.7.0")})
	is(delivery.ReasonSupported)
	events.OnDelete(node("a", newKubelet, containerd))
	is(delivery.ReasonNoNode)
	events.OnAdd("not a node", false)
	events.OnDelete("not a node")
	is(delivery.ReasonNoNode)
	events.unsynced = true
	is(delivery.ReasonNodesUnknown)
	c.Nodes = delivery.NewNodes()
	is(delivery.ReasonNodesUnknown)
	require.ErrorContains(t, c.Nodes.Watch(t.Context(), &informer{err: errors.New("stopped")}), "watching the nodes: stopped")
	c.Nodes = nil
	is(delivery.ReasonNodesUnknown)
}

func TestWhatIsDemandedIsRefusedWhereItCannotWork(t *testing.T) {
	gvisor, other := "gvisor", "sandboxed"
	good, old, docker := node("good", newKubelet, containerd), node("old", "v1.34.1", containerd), node("dock", newKubelet, "docker://28.0.1")
	for name, c := range map[string]struct {
		apiServer string
		nodes     []*corev1.Node
		class     *string
		says      string
	}{
		"where it works":                   {"v1.36.0", []*corev1.Node{good}, nil, ""},
		"where no node is there yet":       {"v1.36.0", nil, nil, ""},
		"for a runtime class that may":     {"v1.36.0", []*corev1.Node{good}, &other, ""},
		"for gVisor":                       {"v1.36.0", []*corev1.Node{good}, &gvisor, "the runtime class gvisor does not mount images"},
		"on an old API server":             {"v1.35.1", []*corev1.Node{good}, nil, "the API server is v1.35.1, and image volumes need 1.36"},
		"on an API server that is unknown": {"", []*corev1.Node{good}, nil, "the version of the API server could not be read"},
		"on an old node":                   {"v1.36.0", []*corev1.Node{good, old}, nil, "it may run on a node whose kubelet is v1.34.1, and image volumes need 1.36; change it to auto or init, or select other nodes"},
		"on a node with docker":            {"v1.36.0", []*corev1.Node{docker}, nil, "it may run on a node whose container runtime is docker://28.0.1, and image volumes need containerd 2.1 or CRI-O 1.31"},
	} {
		t.Run(name, func(t *testing.T) {
			for source, mode := range map[string]delivery.Mode{"the value env_injector.delivery": delivery.ModeImage, "the annotation " + wire.AnnotationDelivery: delivery.ModeInit} {
				chosen, _ := chooser(t, mode, c.apiServer, c.nodes...)
				p := pod(func(p *corev1.Pod) { p.Spec.RuntimeClassName = c.class })
				if mode == delivery.ModeInit {
					p.Annotations = map[string]string{wire.AnnotationDelivery: "image"}
				}
				got, err := chosen.Choose(t.Context(), p, false)
				if c.says == "" {
					require.NoError(t, err)
					assert.True(t, got.Mode == delivery.ModeImage)
					continue
				}
				assert.Equal(t, fault.Invalid, fault.KindOf(err))
				assert.ErrorContains(t, err, source+" demands an image volume, which can't work for this pod: "+c.says)
			}
		})
	}
}

func TestTheNameOfARuntimeClassIsShortAndPrintable(t *testing.T) {
	class := strings.Repeat("gvisor\n", 10_000)
	c, _ := chooser(t, delivery.ModeImage, "v1.36.0", node("a", newKubelet, containerd))
	p := pod(func(p *corev1.Pod) { p.Spec.RuntimeClassName = &class })
	_, err := c.Choose(t.Context(), p, false)
	require.Error(t, err)
	assert.Less(t, len(err.Error()), 1000)
	assert.NotContains(t, err.Error(), "\n")
	c.Default = delivery.ModeAuto
	got, err := c.Choose(t.Context(), p, false)
	require.NoError(t, err)
	assert.Less(t, len(got.Version), 500, "what the log gets")
}

func TestThePodMayChoose(t *testing.T) {
	c, _ := chooser(t, delivery.ModeAuto, "v1.36.0", node("a", newKubelet, containerd))
	for text, want := range map[string]delivery.Mode{"init": delivery.ModeInit, "image": delivery.ModeImage, "auto": delivery.ModeImage, " Init ": delivery.ModeInit} {
		got, err := c.Choose(t.Context(), pod(func(p *corev1.Pod) { p.Annotations = map[string]string{wire.AnnotationDelivery: text} }), false)
		require.NoError(t, err)
		assert.Equal(t, want, got.Mode, text)
	}
	for _, text := range []string{"", "env", "true", strings.Repeat("x", 10_000)} {
		_, err := c.Choose(t.Context(), pod(func(p *corev1.Pod) { p.Annotations = map[string]string{wire.AnnotationDelivery: text} }), false)
		assert.Equal(t, fault.Invalid, fault.KindOf(err), text)
		assert.EqualError(t, err, "the annotation akv2k8s.io/delivery of the pod is not a delivery; write auto, image, init or envfile")
	}
}

func TestEnvFilesAreRefusedWhereAKubeletWouldIgnoreThem(t *testing.T) {
	good, old, between := node("good", newKubelet, containerd), node("old", "v1.34.1", containerd), node("between", "v1.35.0", "docker://28.0.1")
	gvisor := "gvisor"
	for name, c := range map[string]struct {
		apiServer string
		nodes     []*corev1.Node
		pod       func(*corev1.Pod)
		reason    delivery.Reason
		says      string
	}{
		"new nodes":                  {"v1.36.0", []*corev1.Node{good}, nil, delivery.ReasonSupported, ""},
		"the first version":          {"v1.35.0", []*corev1.Node{between}, nil, delivery.ReasonSupported, ""},
		"any container runtime":      {"v1.36.0", []*corev1.Node{good, between}, func(p *corev1.Pod) { p.Spec.RuntimeClassName = &gvisor }, delivery.ReasonSupported, ""},
		"no node yet":                {"v1.36.0", nil, nil, delivery.ReasonConfigured, ""},
		"an old node of another pod": {"v1.36.0", []*corev1.Node{good, old}, func(p *corev1.Pod) { p.Spec.NodeName = "good" }, delivery.ReasonSupported, ""},
		"an old node":                {"v1.36.0", []*corev1.Node{good, old}, nil, "", "it may run on a node whose kubelet is v1.34.1, and env files need 1.35; change it to auto or init, or select other nodes"},
		"an old API server":          {"v1.34.9", []*corev1.Node{good}, nil, "", "the API server is v1.34.9, and env files need 1.35; change it to auto or init"},
		"an API server that is away": {"", []*corev1.Node{good}, nil, "", "the version of the API server could not be read"},
	} {
		t.Run(name, func(t *testing.T) {
			chosen, _ := chooser(t, delivery.ModeInit, c.apiServer, c.nodes...)
			p := pod(c.pod)
			p.Annotations = map[string]string{wire.AnnotationDelivery: " EnvFile"}
			got, err := chosen.Choose(t.Context(), p, false)
			if c.says != "" {
				assert.Equal(t, fault.Invalid, fault.KindOf(err))
				assert.ErrorContains(t, err, "the annotation akv2k8s.io/delivery demands env files, which can't work for this pod: "+c.says)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, delivery.Decision{Mode: delivery.ModeEnvFile, Reason: c.reason}, got)
			if c.reason == delivery.ReasonSupported {
				chosen.Nodes = nil
				got, err = chosen.Choose(t.Context(), p, false)
				require.NoError(t, err, "the check in the pod covers nodes that are not watched")
				assert.Equal(t, delivery.ReasonConfigured, got.Reason)
			}
		})
	}
	_, err := delivery.ParseMode("envfile")
	assert.Error(t, err, "only a pod can demand it")
}

func TestTheVersionOfTheAPIServerIsReadAgainAfterAWhile(t *testing.T) {
	now, reads, answer := time.Unix(1, 0), 0, "v1.35.0"
	c, _ := chooser(t, delivery.ModeAuto, "", node("a", newKubelet, containerd))
	c.APIServer = &delivery.ServerVersion{Clock: func() time.Time { return now }, Read: func() (*version.Info, error) {
		reads++
		if answer == "" {
			return nil, errors.New("no answer")
		}
		return &version.Info{GitVersion: answer}, nil
	}}
	choose := func() bool {
		got, err := c.Choose(t.Context(), pod(nil), false)
		require.NoError(t, err)
		return got.Mode == delivery.ModeImage
	}
	assert.False(t, choose())
	answer = "v1.36.0"
	assert.False(t, choose())
	assert.Equal(t, 1, reads)
	now = now.Add(limits.ServerVersionAge)
	assert.True(t, choose())
	answer, now = "", now.Add(limits.ServerVersionAge)
	assert.True(t, choose(), "the last known version stays")
	assert.Equal(t, 3, reads)
}

func TestANodeIsStrippedToWhatADecisionNeeds(t *testing.T) {
	n := tainted(node("a", newKubelet, containerd, "pool=x"), "t", corev1.TaintEffectNoSchedule)
	n.Annotations = map[string]string{"large": strings.Repeat("x", 10_000)}
	n.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubelet"}}
	n.ResourceVersion = "7"
	for i := range 50 {
		n.Status.Images = append(n.Status.Images, corev1.ContainerImage{Names: []string{fmt.Sprint("image", i)}})
	}
	got, err := delivery.Strip(n)
	require.NoError(t, err)
	stripped := got.(*corev1.Node)
	assert.Less(t, stripped.Size(), 300)
	assert.Equal(t, "7", stripped.ResourceVersion)
	got, err = delivery.Strip("something else")
	require.NoError(t, err)
	assert.Equal(t, "something else", got)
}
