package namespaces

import (
	"context"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// NetworkPolicies checks that the policies of the installation's namespace and of the labelled ones allow the
// connections of akv2k8s. It knows NetworkPolicies of Kubernetes, and not those of network plugins.
func NetworkPolicies(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: cluster.CheckPolicies,
		Run: func(ctx context.Context) []doctor.Finding {
			return s.ForEach(ctx, func(i *cluster.Installation) []doctor.Finding {
				injected, problem := s.InjectedNamespaces(ctx, i)
				if problem != nil {
					return problem
				}
				injected = injected[:min(len(injected), limits.DoctorNamespaces)]
				own, failure := policiesOf(ctx, s, i.Namespace)
				if failure != nil {
					return failure
				}
				found := checkOwnPolicies(i, own, injected)
				for _, namespace := range injected {
					policies, failure := policiesOf(ctx, s, namespace.Name)
					if failure != nil {
						return append(found, failure...)
					}
					found = append(found, checkPodPolicies(i, namespace.Name, policies)...)
				}
				return found
			})
		}}
}

func policiesOf(ctx context.Context, s *cluster.State, namespace string) ([]networkingv1.NetworkPolicy,
	[]doctor.Finding) {
	var list networkingv1.NetworkPolicyList
	if err := s.ListIn(ctx, &list, namespace); err != nil {
		return nil, cluster.ReadFailure(err, doctor.Right{Verb: "list", Group: "networking.k8s.io",
			Resource: "networkpolicies", Namespace: namespace})
	}
	return list.Items, nil
}

// endpoint is one direction of a connection that a policy must allow.
type endpoint struct {
	// pods are the labels of the pods to which the policies apply.
	pods map[string]string
	// port is the number of the port, and portName the name of the container's port; the latter can be empty.
	port     int
	portName string
	// peer is the namespace on the other side; nil means an address outside the cluster, or the API server.
	peer *corev1.Namespace
}

// checkOwnPolicies checks the policies of the installation's namespace.
func checkOwnPolicies(i *cluster.Installation, policies []networkingv1.NetworkPolicy,
	injected []corev1.Namespace) []doctor.Finding {
	var found []doctor.Finding
	deny := func(d *appsv1.Deployment, what, why, try string) {
		found = append(found, doctor.Finding{Severity: doctor.Error, Object: "namespace/" + i.Namespace,
			What: "NetworkPolicies deny " + what, Why: why + " (pods of " + d.Name + ")", Try: try})
	}
	if d := i.Injector; d != nil {
		tls := endpoint{pods: d.Spec.Template.Labels, port: portOf(d, "tls"), portName: "tls"}
		if !allowsIngress(policies, tls) {
			deny(d, "the connections of the API server to the webhook", "pods with references are rejected",
				"allow the port tls from every address: no selector matches the API server")
		}
		for n := range injected {
			auth := endpoint{pods: d.Spec.Template.Labels, port: portOf(d, "auth-tls"), portName: "auth-tls",
				peer: &injected[n]}
			if auth.port != 0 && !allowsIngress(policies, auth) {
				deny(d, "the connections of pods of namespace "+injected[n].Name+" to the auth service",
					"injected pods get no values", "allow the port auth-tls from the namespaces with injected pods")
				break
			}
		}
	}
	for _, d := range i.Deployments() {
		azure := endpoint{pods: d.Spec.Template.Labels, port: 443}
		dns := endpoint{pods: d.Spec.Template.Labels, port: 53}
		if !allowsEgress(policies, azure) {
			deny(d, "connections to Azure, port 443", "vaults and Entra ID can't be reached",
				"allow egress to port 443, see docs/how-to/egress.md")
		} else if !allowsEgress(policies, dns) {
			deny(d, "connections to the DNS, port 53", "names of vaults can't be resolved",
				"allow egress to port 53, UDP and TCP")
		}
	}
	return found
}

// checkPodPolicies checks the policies of a namespace that select all of its pods.
func checkPodPolicies(i *cluster.Installation, namespace string,
	policies []networkingv1.NetworkPolicy) []doctor.Finding {
	if i.Injector == nil || cluster.Flag(i.Injector, "auth-service") != "true" {
		return nil
	}
	peer := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: i.Namespace,
		Labels: map[string]string{"kubernetes.io/metadata.name": i.Namespace}}}
	// Policies see the port of the pod, after the translation of the Service's address.
	auth := endpoint{port: portOf(i.Injector, "auth-tls"), portName: "auth-tls", peer: peer}
	if auth.port == 0 || allowsEgress(forAllPods(policies), auth) {
		return nil
	}
	return []doctor.Finding{{Severity: doctor.Error, Object: "namespace/" + namespace,
		What: "NetworkPolicies deny the connections of its pods to the auth service",
		Why:  "injected pods get no values",
		Try: "allow egress to namespace " + i.Namespace + ", port " + strconv.Itoa(auth.port) +
			", see docs/how-to/egress.md"}}
}

func portOf(d *appsv1.Deployment, name string) int {
	if c := cluster.Container(d); c != nil {
		for _, p := range c.Ports {
			if p.Name == name {
				return int(p.ContainerPort)
			}
		}
	}
	return 0
}

// forAllPods returns the policies that select every pod of their namespace. Others can apply too, and allow more.
func forAllPods(policies []networkingv1.NetworkPolicy) []networkingv1.NetworkPolicy {
	for _, p := range policies {
		if !isEmpty(&p.Spec.PodSelector) && len(p.Spec.Egress) > 0 {
			return nil // it can allow what the policies for all pods deny
		}
	}
	return policies
}

func isEmpty(s *metav1.LabelSelector) bool { return len(s.MatchLabels)+len(s.MatchExpressions) == 0 }

// allowsIngress reports whether the policies allow connections to the endpoint. Without a policy for its pods, all are
// allowed.
func allowsIngress(policies []networkingv1.NetworkPolicy, e endpoint) bool {
	restricted := false
	for _, p := range policies {
		if !selects(&p.Spec.PodSelector, e.pods) || !hasType(p, networkingv1.PolicyTypeIngress) {
			continue
		}
		restricted = true
		for _, rule := range p.Spec.Ingress {
			if allowsPort(rule.Ports, e) && allowsPeer(rule.From, e) {
				return true
			}
		}
	}
	return !restricted
}

// allowsEgress reports whether the policies allow connections from the pods of the endpoint to its port.
func allowsEgress(policies []networkingv1.NetworkPolicy, e endpoint) bool {
	restricted := false
	for _, p := range policies {
		if !selects(&p.Spec.PodSelector, e.pods) || !hasType(p, networkingv1.PolicyTypeEgress) {
			continue
		}
		restricted = true
		for _, rule := range p.Spec.Egress {
			// The name server is in the cluster, wherever the policy says.
			if allowsPort(rule.Ports, e) && (e.port == 53 || allowsPeer(rule.To, e)) {
				return true
			}
		}
	}
	return !restricted
}

func hasType(p networkingv1.NetworkPolicy, kind networkingv1.PolicyType) bool {
	for _, t := range p.Spec.PolicyTypes {
		if t == kind {
			return true
		}
	}
	return len(p.Spec.PolicyTypes) == 0 && (kind == networkingv1.PolicyTypeIngress || len(p.Spec.Egress) > 0)
}

// selects reports whether a selector matches labels; nil labels are those of any pod, which only an empty one matches.
func selects(selector *metav1.LabelSelector, pod map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && (isEmpty(selector) || pod != nil && s.Matches(labels.Set(pod)))
}

// allowsPort reports whether one of a rule's ports is that of the endpoint. A rule without ports allows all.
func allowsPort(ports []networkingv1.NetworkPolicyPort, e endpoint) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		isTCP := p.Protocol == nil || *p.Protocol == corev1.ProtocolTCP
		return (isTCP || e.port == 53) && matchesPort(p, e)
	})
}

func matchesPort(p networkingv1.NetworkPolicyPort, e endpoint) bool {
	switch {
	case p.Port == nil:
		return true
	case p.Port.Type == intstr.String:
		return p.Port.StrVal == e.portName
	case p.EndPort != nil:
		return e.port >= p.Port.IntValue() && e.port <= int(*p.EndPort)
	}
	return p.Port.IntValue() == e.port
}

// allowsPeer reports whether a rule allows the other side. Blocks of addresses are taken as right, because nobody knows
// the address of the API server and of Azure here.
func allowsPeer(peers []networkingv1.NetworkPolicyPeer, e endpoint) bool {
	if len(peers) == 0 {
		return true
	}
	for _, p := range peers {
		switch {
		case p.IPBlock != nil:
			if e.peer == nil {
				return true
			}
		case e.peer == nil: // selectors only match pods
		case p.NamespaceSelector == nil: // pods of the policy's own namespace
		default:
			if selects(p.NamespaceSelector, e.peer.Labels) || isEmpty(p.NamespaceSelector) {
				return true
			}
		}
	}
	return false
}
