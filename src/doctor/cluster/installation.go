package cluster

import (
	"cmp"
	"context"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/doctor"
)

// Labels of the chart's objects.
const (
	labelComponent = "app.kubernetes.io/component"
	labelPartOf    = "app.kubernetes.io/part-of"
)

// WebhookName is the name of the webhook in the MutatingWebhookConfiguration of every version.
const WebhookName = "pods.env-injector.admission.spv.no"

// Installation is a release of the chart with its Deployments, which can be nil.
type Installation struct {
	Namespace, Fullname string
	// Controller and Injector are the Deployments of the components.
	Controller, Injector *appsv1.Deployment
}

// String is the name of the installation for messages, as in the status of resources.
func (i *Installation) String() string { return i.Namespace + "/" + i.Fullname }

// InjectorName is the name of the env-injector's objects.
func (i *Installation) InjectorName() string { return i.Fullname + "-envinjector" }

// IsV1 reports whether the installation is akv2k8s 1.x, whose Deployments lack a label of all later versions.
func (i *Installation) IsV1() bool {
	for _, d := range []*appsv1.Deployment{i.Controller, i.Injector} {
		if d != nil && d.Labels[labelPartOf] == "" {
			return true
		}
	}
	return false
}

// Deployments returns the Deployments that exist.
func (i *Installation) Deployments() []*appsv1.Deployment {
	return slices.DeleteFunc([]*appsv1.Deployment{i.Controller, i.Injector},
		func(d *appsv1.Deployment) bool { return d == nil })
}

// Container returns the container of the component in its Deployment; nil if there is none.
func Container(d *appsv1.Deployment) *corev1.Container {
	if d == nil || len(d.Spec.Template.Spec.Containers) == 0 {
		return nil
	}
	containers := d.Spec.Template.Spec.Containers
	main := d.Spec.Template.Annotations["kubectl.kubernetes.io/default-container"]
	for i := range containers {
		if containers[i].Name == main {
			return &containers[i]
		}
	}
	return &containers[0]
}

// Flag returns the value of a flag of a component; a switch without a value is "true". It is empty if the flag is not
// set. The last one counts, as for the program.
func Flag(d *appsv1.Deployment, name string) string {
	value := ""
	if c := Container(d); c != nil {
		for _, arg := range c.Args {
			key, text, found := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			if key != name || !strings.HasPrefix(arg, "-") {
				continue
			}
			if value = text; !found {
				value = "true"
			}
		}
	}
	return value
}

// WatchesAll reports whether the installation serves all namespaces.
func (i *Installation) WatchesAll() bool {
	for _, d := range i.Deployments() {
		if Flag(d, "watch-all-namespaces") == "false" {
			return false
		}
	}
	return true
}

// Injection returns the label of namespaces with injection.
func (i *Installation) Injection() (label, value string) {
	label, value, _ = strings.Cut(Flag(i.Injector, "namespace-label"), "=")
	if label == "" {
		return "azure-key-vault-env-injection", "enabled"
	}
	return label, value
}

// Installations returns all installations that the user can see: those of the cluster, or those of SystemNamespace. The
// findings say what prevented it.
func (s *State) Installations(ctx context.Context) ([]*Installation, []doctor.Finding) {
	component, err := labels.NewRequirement(labelComponent, selection.Exists, nil)
	if err != nil {
		return nil, []doctor.Finding{doctor.FromError("", err)}
	}
	selector := client.MatchingLabelsSelector{Selector: labels.NewSelector().Add(*component)}
	var list appsv1.DeploymentList
	right := doctor.Right{Verb: "list", Group: "apps", Resource: "deployments"}
	_, err = s.List(ctx, &list, selector)
	if apierrors.IsForbidden(err) && s.SystemNamespace != "" {
		right.Namespace = s.SystemNamespace
		_, err = s.List(ctx, &list, selector, client.InNamespace(s.SystemNamespace))
	}
	if err != nil {
		return nil, ReadFailure(err, right)
	}
	return groupDeployments(list.Items), nil
}

// groupDeployments returns the installations of the Deployments of akv2k8s among others.
func groupDeployments(all []appsv1.Deployment) []*Installation {
	var found []*Installation
	for i := range all {
		d := &all[i]
		if d.Labels[labelPartOf] != "akv2k8s" && !hasOurImage(d) {
			continue
		}
		fullname, isInjector := strings.CutSuffix(d.Name, "-envinjector")
		if !isInjector {
			var isController bool
			if fullname, isController = strings.CutSuffix(d.Name, "-controller"); !isController {
				continue
			}
		}
		at := slices.IndexFunc(found, func(o *Installation) bool {
			return o.Namespace == d.Namespace && o.Fullname == fullname
		})
		if at < 0 {
			at, found = len(found), append(found, &Installation{Namespace: d.Namespace, Fullname: fullname})
		}
		if isInjector {
			found[at].Injector = d
		} else {
			found[at].Controller = d
		}
	}
	return found
}

// hasOurImage reports whether the image is one of akv2k8s, of any version and registry.
func hasOurImage(d *appsv1.Deployment) bool {
	c := Container(d)
	return c != nil && (strings.Contains(c.Image, "akv2k8s/") || strings.Contains(c.Image, "spvest/azure-keyvault"))
}

// ForEach calls check for each installation, and joins the findings. That there is none is reported by another check.
func (s *State) ForEach(ctx context.Context, check func(*Installation) []doctor.Finding) []doctor.Finding {
	installations, problem := s.Installations(ctx)
	if problem != nil {
		return problem
	}
	if len(installations) == 0 {
		return []doctor.Finding{{Severity: doctor.Warning, What: "akv2k8s is not installed",
			EffectOf: []string{CheckPresence}}}
	}
	var all []doctor.Finding
	for _, one := range installations {
		all = append(all, check(one)...)
	}
	return LimitFindings(all)
}

// ForEachServing is ForEach for checks in the namespace of a tenant. A tenant who can't see the installation gets one
// with the default names and settings.
func (s *State) ForEachServing(ctx context.Context, check func(*Installation) []doctor.Finding) []doctor.Finding {
	_, problem := s.Installations(ctx)
	if problem == nil || s.Namespace == "" || problem[0].Severity != doctor.Skipped {
		return s.ForEach(ctx, check)
	}
	return check(&Installation{Namespace: s.SystemNamespace, Fullname: "akv2k8s",
		Injector: &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{labelPartOf: "akv2k8s"}}}})
}

// InjectedNamespaces returns the namespaces whose pods are injected by an installation, or Namespace alone if it is
// set.
func (s *State) InjectedNamespaces(ctx context.Context, of *Installation) ([]corev1.Namespace, []doctor.Finding) {
	if of.Injector == nil {
		return nil, nil
	}
	label, value := of.Injection()
	if s.Namespace != "" || !of.WatchesAll() {
		return s.onlyNamespace(ctx, of)
	}
	var list corev1.NamespaceList
	if _, err := s.List(ctx, &list, client.MatchingLabels{label: value}); err != nil {
		return nil, ReadFailure(err, doctor.Right{Verb: "list", Resource: "namespaces"})
	}
	var injected []corev1.Namespace
	for _, n := range list.Items { // a copy, because other checks share the list
		if n.Name != "kube-system" && n.Labels["control-plane"] != "true" && n.DeletionTimestamp == nil {
			injected = append(injected, n)
		}
	}
	return injected, nil
}

// onlyNamespace returns the one namespace that is checked, or none if its pods are not injected.
func (s *State) onlyNamespace(ctx context.Context, of *Installation) ([]corev1.Namespace, []doctor.Finding) {
	label, value := of.Injection()
	name := cmp.Or(s.Namespace, of.Namespace)
	var namespace corev1.Namespace
	if err := s.Client.Get(ctx, client.ObjectKey{Name: name}, &namespace); err != nil {
		return nil, ReadFailure(err, doctor.Right{Verb: "get", Resource: "namespaces", Name: name})
	}
	if namespace.Labels[label] != value || !of.WatchesAll() && name != of.Namespace {
		return nil, nil
	}
	return []corev1.Namespace{namespace}, nil
}
