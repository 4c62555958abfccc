package explain

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/cli/explain/admission"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/webhook/delivery"
	"github.com/akv2k8s/akv2k8s/src/webhook/filescontainer"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/webhook/injected"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// podExplanation is the explanation of one pod in progress.
type podExplanation struct {
	*Explainer
	// pod is the pod as it is. simulated is how the webhook would create it now; nil if it would deny it.
	pod, simulated *corev1.Pod
	// denied is why the webhook would deny the pod.
	denied error
	result *Pod
	// problems are the findings about resources.
	problems []problem
}

// Pod explains a pod of the cluster.
func (e *Explainer) Pod(ctx context.Context, pod *corev1.Pod) (*Pod, error) {
	return e.explainPod(ctx, pod, &Pod{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, Exists: true})
}

// explainPod fills the result.
func (e *Explainer) explainPod(ctx context.Context, pod *corev1.Pod, result *Pod) (*Pod, error) {
	x := &podExplanation{Explainer: e, pod: pod, result: result}
	result.ServiceAccount = cmp.Or(pod.Spec.ServiceAccountName, "default")
	result.Findings = []doctor.Finding{}
	selection, err := e.webhooks.Select(ctx, e.Reader, pod)
	if err != nil {
		return nil, err
	}
	result.Notes = append(result.Notes, selection.Notes...)
	if err := x.simulate(ctx); err != nil {
		return nil, err
	}
	x.explainInjection(selection)
	for _, c := range injected.Containers(pod) {
		if err := x.explainContainer(ctx, c); err != nil {
			return nil, err
		}
	}
	x.addChangedSources()
	x.addFailures()
	x.addProblems()
	return result, nil
}

// simulate runs the webhook's decision and mutation for the pod, with the references that ConfigMaps, and Secrets if
// that is allowed, have now.
func (x *podExplanation) simulate(ctx context.Context) error {
	pod := x.pod.DeepCopy()
	inject.RestoreReferences(pod)
	filescontainer.Remove(pod)
	sources, notes, err := x.readSources(ctx, pod)
	if err != nil {
		return err
	}
	if !isInjected(x.pod) { // the references of an injected pod are in its spec
		x.result.Notes = append(x.result.Notes, notes...)
	}
	plan, denied := inject.Decide(pod, sources)
	if denied == nil {
		denied = plan.CheckEnvFile(pod, false)
	}
	if denied == nil && !plan.IsEmpty() {
		denied = delivery.CheckAnnotation(pod)
	}
	var files filescontainer.Plan
	if denied == nil {
		files, denied = filescontainer.Decide(pod, false)
	}
	if x.denied = denied; denied == nil {
		x.simulated = filescontainer.Add(inject.Mutate(pod, plan, inject.Settings{}), files, inject.Settings{})
		x.addWarnings(plan.Warnings)
		x.addWarnings(files.Warnings)
	}
	return nil
}

// addWarnings adds the warnings that the user gets when the pod is created.
func (x *podExplanation) addWarnings(warnings []string) {
	for _, warning := range warnings {
		if !x.result.Exists {
			x.addFinding(doctor.Finding{Check: checkAdmission, Object: x.subject(),
				Severity: doctor.Warning, What: warning, Why: "kubectl apply shows the same warning",
				Try: "correct it, or ignore it"})
		}
	}
}

// explainInjection says whether and how the pod is injected.
func (x *podExplanation) explainInjection(s admission.Selection) {
	wouldInject := x.simulated != nil && isInjected(x.simulated)
	r := x.result
	switch excluded := x.exclusion(); {
	case isInjected(x.pod):
		r.Injected, r.Injection = true, x.deliveryText()
		x.checkStillSelected(s)
	case excluded != nil:
		x.setNotInjected(*excluded)
	case x.denied != nil:
		r.Injection = "the webhook would deny the pod"
		x.addFinding(doctor.Finding{Check: checkAdmission, Object: x.subject(), Severity: doctor.Error,
			What: "the env-injector denies it", Why: x.denied.Error(), Try: "change what the message names"})
	case !wouldInject:
		r.Injection = "no container has a reference to Key Vault"
	case !s.Selected:
		x.setNotInjected(s.Cause)
	case r.Exists:
		x.setNotInjected(admission.Cause{Reason: "the webhook would inject it now: the pod was created before the " +
			"env-injector or the labels, or while the env-injector did not answer", Try: "recreate the pod"})
	default:
		r.Injected, r.Injection = true, "the webhook injects it when it is created"
	}
}

// isInjected reports whether any container gets values.
func isInjected(pod *corev1.Pod) bool {
	return slices.ContainsFunc(injected.Containers(pod), func(c corev1.Container) bool {
		return injected.DeliveryOf(c) != injected.None || len(injected.Files(pod, c)) > 0
	})
}

// exclusion returns why the webhook ignores the pod, whatever it has; nil if it does not.
func (x *podExplanation) exclusion() *admission.Cause {
	if enabled, err := strconv.ParseBool(x.pod.Labels[wire.LabelInject]); err == nil && !enabled {
		return &admission.Cause{Reason: "the label " + wire.LabelInject + " of the pod excludes it",
			Try: "remove the label from the pod template, and recreate the pod"}
	}
	if _, isMirror := x.pod.Annotations[corev1.MirrorPodAnnotationKey]; isMirror {
		return &admission.Cause{Reason: "it is a static pod, which a webhook can't change",
			Try: "run it as a DaemonSet or Deployment"}
	}
	return nil
}

// setNotInjected says why the pod is not injected. That is a finding only if it has references.
func (x *podExplanation) setNotInjected(c admission.Cause) {
	x.result.Injection = c.Reason
	var names []string
	for _, container := range injected.Containers(x.pod) {
		for variable := range x.referencesOf(container) {
			names = append(names, container.Name+"/"+variable)
		}
		for _, file := range x.filesOf(container) {
			names = append(names, container.Name+":"+file.Path)
		}
	}
	if len(names) > 0 {
		slices.Sort(names)
		x.addFinding(doctor.Finding{Check: checkInjection, Object: x.subject(), Severity: doctor.Error,
			What: "it is not injected, so these variables and files have no values: " + shortList(names),
			Why:  c.Reason, Try: c.Try, Command: c.Command})
	}
}

// checkStillSelected adds a finding if the auth service no longer serves the namespace of an injected pod.
func (x *podExplanation) checkStillSelected(s admission.Selection) {
	if !s.NamespaceSelected {
		x.addFinding(doctor.Finding{Check: checkAuthService, Object: x.subject(), Severity: doctor.Error,
			What: "the auth service returns no values to it when a container starts again",
			Why:  cmp.Or(s.Reason, "no webhook selects the namespace"), Try: s.Try, Command: s.Command})
	}
}

// deliveryText says how values get into an injected pod.
func (x *podExplanation) deliveryText() string {
	deliveries := map[injected.Delivery]bool{}
	for _, c := range injected.Containers(x.pod) {
		deliveries[injected.DeliveryOf(c)] = true
	}
	var texts []string
	if deliveries[injected.ByEnvFile] {
		texts = append(texts, "the kubelet sets the values, from files of the init container")
	}
	if deliveries[injected.ByInjector] {
		text := "the injector, which the init container " + wire.InitContainer + " copies, starts the programs"
		for _, volume := range x.pod.Spec.Volumes {
			if volume.Name == wire.VolumeInjector && volume.Image != nil {
				text = "the injector, in an image volume, starts the programs"
			}
		}
		texts = append(texts, text)
	}
	if writer := injected.FilesWriter(x.pod); writer != nil {
		texts = append(texts, "the container "+writer.Name+" writes the files")
	}
	return strings.Join(texts, "; ")
}

// filesOf returns the files of a container: those that it was created with, or would be.
func (x *podExplanation) filesOf(c corev1.Container) []injected.File {
	if isInjected(x.pod) || x.simulated == nil {
		return injected.Files(x.pod, c)
	}
	if would := containerNamed(x.simulated, c.Name); would != nil {
		return injected.Files(x.simulated, *would)
	}
	return nil
}

// referencesOf returns the references of a container by variable: those that it was created with, or would be.
func (x *podExplanation) referencesOf(c corev1.Container) map[string]injected.Reference {
	if injected.DeliveryOf(c) != injected.None || x.simulated == nil {
		return injected.References(x.pod, c)
	}
	if would := containerNamed(x.simulated, c.Name); would != nil {
		return injected.References(x.simulated, *would)
	}
	return injected.References(x.pod, c)
}

// containerNamed returns a container of a pod; nil if there is none.
func containerNamed(pod *corev1.Pod, name string) *corev1.Container {
	for _, c := range injected.Containers(pod) {
		if c.Name == name {
			return &c
		}
	}
	return nil
}

// explainContainer explains a container with its references: those of variables, and those of files.
func (x *podExplanation) explainContainer(ctx context.Context, c corev1.Container) error {
	subject := c // as it is injected, or would be
	if injected.DeliveryOf(c) == injected.None && x.result.Injected && x.simulated != nil && !x.result.Exists {
		if would := containerNamed(x.simulated, c.Name); would != nil {
			subject = *would
		}
	}
	found := Container{Name: c.Name, Injected: injected.DeliveryOf(subject) != injected.None}
	if found.Injected {
		found.Reader, found.isDirect = x.readerOf(subject), injected.UsesOwnCredentials(subject)
		found.ValuesFrom = x.valuesFrom(c)
	}
	references := x.referencesOf(c)
	for _, variable := range slices.Sorted(maps.Keys(references)) {
		reference := references[variable]
		use := Use{Variable: variable, From: originOf(c, variable, reference.Origin),
			Reference: reference.String(), Resource: reference.Name}
		if err := x.explainUse(ctx, found, reference.Reference, &use); err != nil {
			return err
		}
		found.Uses = append(found.Uses, use)
	}
	if err := x.explainFiles(ctx, c, &found); err != nil {
		return err
	}
	x.addPeculiarities(c, subject)
	x.result.Containers = append(x.result.Containers, found)
	return nil
}

// addPeculiarities adds what is special about how a container was injected.
func (x *podExplanation) addPeculiarities(c, subject corev1.Container) {
	if injected.IsByV1(c) {
		x.addFinding(doctor.Finding{Check: checkAuthService, Object: x.subject(),
			Severity: doctor.Warning, What: "it was injected by akv2k8s 1.8",
			Why: "a container that restarts gets no values, unless env_injector.legacyAuthService is enabled",
			Try: "recreate the pod, for example with 'kubectl rollout restart'"})
	}
	if injected.AllowsUnrecorded(subject) {
		x.result.Notes = append(x.result.Notes, fmt.Sprintf("A ConfigMap, Secret or key of container %s was missing "+
			"when the pod was created, so the container can have more references than are shown.", c.Name))
	}
}

// readerOf says who reads the values of an injected container.
func (x *podExplanation) readerOf(c corev1.Container) string {
	account := fmt.Sprintf("%s/%s", x.pod.Namespace, x.result.ServiceAccount)
	if !injected.UsesOwnCredentials(c) {
		return "the auth service, which identifies the pod by its token of ServiceAccount " + account
	}
	rule := "the installation has no auth service (env_injector.authService: false)"
	method := "environment"
	for _, variable := range c.Env {
		if variable.Name == wire.EnvDisableAuthService {
			rule = "its variable " + wire.EnvDisableAuthService
		}
		if variable.Name == wire.EnvAuthType && variable.Value != "" {
			method = variable.Value
		}
	}
	return fmt.Sprintf("the injector in the pod, with the pod's own credentials (method %s), because of %s; it reads "+
		"resources as ServiceAccount %s", method, rule, account)
}

// valuesFrom returns when a running container got its values; nil if it does not run.
func (x *podExplanation) valuesFrom(c corev1.Container) *metav1.Time {
	for _, status := range slices.Concat(x.pod.Status.ContainerStatuses, x.pod.Status.InitContainerStatuses,
		x.pod.Status.EphemeralContainerStatuses) {
		if status.Name != c.Name || status.State.Running == nil {
			continue
		}
		if injected.DeliveryOf(c) == injected.ByEnvFile {
			return x.envFilesWritten()
		}
		return &status.State.Running.StartedAt
	}
	return nil
}

// envFilesWritten returns when the init container wrote the values; nil if that is not known.
func (x *podExplanation) envFilesWritten() *metav1.Time {
	for _, status := range x.pod.Status.InitContainerStatuses {
		if status.Name == wire.InitContainer && status.State.Terminated != nil {
			return &status.State.Terminated.FinishedAt
		}
	}
	return nil
}

// originOf says where a reference stands.
func originOf(c corev1.Container, variable string, origin injected.Origin) string {
	if origin == injected.OwnEnv {
		return "env"
	}
	if origin == injected.Image {
		return "the image"
	}
	for _, entry := range c.Env {
		switch from := entry.ValueFrom; {
		case entry.Name != variable || from == nil:
		case from.ConfigMapKeyRef != nil:
			return fmt.Sprintf("ConfigMap %q", from.ConfigMapKeyRef.Name)
		case from.SecretKeyRef != nil:
			return fmt.Sprintf("Secret %q", from.SecretKeyRef.Name)
		case from.FieldRef != nil:
			return "field " + from.FieldRef.FieldPath
		}
	}
	return cmp.Or(envFromOf(c, variable), "env")
}

// envFromOf names the sources of envFrom that can have a variable.
func envFromOf(c corev1.Container, variable string) string {
	var names []string
	for _, from := range c.EnvFrom {
		switch {
		case !strings.HasPrefix(variable, from.Prefix):
		case from.ConfigMapRef != nil:
			names = append(names, fmt.Sprintf("ConfigMap %q", from.ConfigMapRef.Name))
		case from.SecretRef != nil:
			names = append(names, fmt.Sprintf("Secret %q", from.SecretRef.Name))
		}
	}
	return strings.Join(names, " or ")
}

// shortList joins some names, and counts the rest.
func shortList(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
