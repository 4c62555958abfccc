package explain

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/webhook/injected"
)

// explainUse fills a use of a resource by a container.
func (x *podExplanation) explainUse(ctx context.Context, c Container, reference envref.Reference, use *Use) error {
	key := types.NamespacedName{Namespace: x.pod.Namespace, Name: reference.Name}
	read, err := x.readResource(ctx, key)
	if err != nil {
		return err
	}
	concerned := c.Name + "/" + use.Variable + use.File
	use.Part, use.Ready, use.AtStart = reference.Query, "Unknown", "the program gets the reference as text"
	if read.object == nil {
		use.Ready = "False (does not exist)"
		x.addMissing(ctx, key, c, concerned, use)
		return nil
	}
	status := read.object.Status
	use.Version, use.Changed, use.Expires = status.VaultVersion, status.LastAzureUpdate, status.Expires
	use.Ready = readyText(read.object)
	if c.Injected && !c.isDirect {
		use.Identity = identityOf(read.object)
	}
	problem, startText := x.problemOf(read, reference.Query, use)
	if c.Injected {
		use.AtStart = startText
		if c.isDirect && problem == nil {
			use.AtStart = "the injector reads the vault with the pod's own credentials"
		}
	}
	if problem != nil {
		x.addProblem(*problem, concerned)
	}
	x.explainAge(c, read.object, concerned, use)
	x.addExpiry(read.object, concerned)
	return nil
}

// addMissing explains a reference to a resource that does not exist.
func (x *podExplanation) addMissing(ctx context.Context, key types.NamespacedName, c Container, concerned string,
	use *Use) {
	wait := limits.WaitBeforeStart
	if x.pod.Spec.RestartPolicy == corev1.RestartPolicyNever {
		wait = limits.WaitWithoutRestart
	}
	try := "create it, or correct the name in the reference"
	if names := x.namesIn(ctx, key.Namespace); len(names) > 0 {
		try += "; the namespace has " + strings.Join(names, ", ")
	}
	finding := doctor.Finding{Check: checkExistence, Object: resourceObject(key.Name), Severity: doctor.Error,
		What: "it does not exist", Try: try}
	if c.Injected {
		use.AtStart = fmt.Sprintf("waits up to %s for the AzureKeyVaultSecret, then fails with exit code %d", wait,
			fault.NotFound.ExitCode())
	}
	x.addProblem(finding, concerned)
}

// readyText returns the status of the condition Ready, with the reason if it is not True.
func readyText(object *v2beta1.AzureKeyVaultSecret) string {
	ready := meta.FindStatusCondition(object.Status.Conditions, v2beta1.ConditionReady)
	switch {
	case ready == nil:
		return "Unknown (not read yet)"
	case ready.ObservedGeneration != 0 && ready.ObservedGeneration != object.Generation:
		return "Unknown (changed since it was read)"
	case ready.Status == metav1.ConditionTrue:
		return "True"
	}
	return fmt.Sprintf("%s (%s)", ready.Status, ready.Reason)
}

// identityOf says which identity the auth service and the controller use for a resource.
func identityOf(object *v2beta1.AzureKeyVaultSecret) string {
	if id := object.Spec.Vault.AzureIdentity; id != nil && id.Name != "" {
		return fmt.Sprintf("ServiceAccount %s/%s, if the installation allows it (identity.serviceAccounts)",
			object.Namespace, id.Name)
	}
	return "the identity of the installation"
}

// problemOf finds out what happens when a container asks for a part of a resource: the text for the start, and a
// finding if it fails. It also fills the vault object of the use.
func (x *podExplanation) problemOf(read *resourceRead, part string, use *Use) (*doctor.Finding, string) {
	name, object := read.object.Name, resourceObject(read.object.Name)
	if read.invalid != nil {
		return &doctor.Finding{Check: checkSpec, Object: object, Severity: doctor.Error, What: "its spec is not valid",
			Why: fault.CauseOf(read.invalid), Try: cmp.Or(fault.NextStepOf(read.invalid),
				"correct the field that the message names")}, failsText(fault.Invalid)
	}
	query, err := decode.NewQuery(read.recipe, part)
	if use.hasAllKeys {
		query, err = decode.Query{}, nil
	}
	if err != nil {
		if len(read.recipe.Searches) > 0 {
			return nil, "gets the value, if a search of the resource finds an object for " + partText(part)
		}
		return &doctor.Finding{Check: checkQuery, Object: object, Severity: doctor.Error,
			What: fmt.Sprintf("the reference %s selects nothing of it", use.Reference), Why: err.Error(),
			Try: "correct the text after the question mark, and recreate the pod"}, failsText(fault.Invalid)
	}
	use.VaultObject, use.Part = objectText(read.recipe, query.Item), query.Part
	if use.hasAllKeys {
		use.VaultObject = objectsText(read.recipe)
	}
	ready := meta.FindStatusCondition(read.object.Status.Conditions, v2beta1.ConditionReady)
	if ready == nil || ready.Status != metav1.ConditionFalse {
		return nil, "gets the value"
	}
	kind := kindWithReason(ready.Reason)
	finding := &doctor.Finding{Check: checkReady, Object: object, Severity: doctor.Error,
		What: "it is not ready: " + ready.Reason, Why: ready.Message, Try: tryFor(kind),
		Command: fmt.Sprintf("kubectl akv2k8s explain akvs/%s -n %s", name, read.object.Namespace)}
	switch {
	case kind == fault.Conflict: // of an output, which pods do not use
		return nil, "gets the value"
	case kind.IsTransient():
		return finding, "gets the last value that was read, or retries until the vault answers"
	}
	return finding, failsText(kind)
}

func failsText(kind fault.Kind) string {
	return fmt.Sprintf("fails with exit code %d", kind.ExitCode())
}

func partText(part string) string {
	if part == "" {
		return "it"
	}
	return "?" + part
}

// objectText names a vault object.
func objectText(r recipe.Recipe, item recipe.Item) string {
	text := fmt.Sprintf("%s %s/%s", item.Type, r.Vault, item.Name)
	if item.Version != "" {
		text += "/" + item.Version
	}
	return text
}

// objectsText names all vault objects of a resource.
func objectsText(r recipe.Recipe) string {
	var texts []string
	for _, item := range r.Items {
		texts = append(texts, objectText(r, item))
	}
	if len(r.Searches) > 0 {
		texts = append(texts, "what its searches find")
	}
	return shortList(texts)
}

// kindWithReason returns the kind of error with a reason; Bug for others.
func kindWithReason(reason string) fault.Kind {
	for _, kind := range fault.Kinds() {
		if kind.Reason() == reason {
			return kind
		}
	}
	return fault.Bug
}

// explainAge compares the time at which a container got its values with the last change that the controller saw. The
// status has no time of the change in the vault, and no version for each container, so it never says more than that.
func (x *podExplanation) explainAge(c Container, object *v2beta1.AzureKeyVaultSecret, concerned string, use *Use) {
	if c.ValuesFrom == nil {
		return
	}
	changed := object.Status.LastAzureUpdate
	switch {
	case changed == nil:
		use.Now = "not known: the controller has not read the vault"
	case !c.ValuesFrom.Before(changed):
		use.Now = "that of the last change, at " + formatTime(changed)
	case !hasEarlierRead(object.Status):
		use.Now = fmt.Sprintf("not known: the container got its values at %s, and the status shows no read of the "+
			"controller before %s", formatTime(c.ValuesFrom), formatTime(changed))
	default:
		use.Now = fmt.Sprintf("can be older: the container got its values at %s, and the controller saw a change at %s",
			formatTime(c.ValuesFrom), formatTime(changed))
		x.addProblem(doctor.Finding{Check: checkCurrent, Object: resourceObject(object.Name),
			Severity: doctor.Warning, What: "the controller saw a change of it after the container started",
			Try: restartAdvice(object)}, concerned)
	}
}

// hasEarlierRead reports whether the controller read the vault before the last change. If not, that is the time of the
// first read, and the value can be as old as the vault. Ready is true, and Stale is set, after a successful read alone.
func hasEarlierRead(status v2beta1.AzureKeyVaultSecretStatus) bool {
	return slices.ContainsFunc(status.Conditions, func(c metav1.Condition) bool {
		isRead := c.Type == v2beta1.ConditionStale ||
			c.Type == v2beta1.ConditionReady && c.Status == metav1.ConditionTrue
		return isRead && !c.LastTransitionTime.IsZero() && c.LastTransitionTime.Before(status.LastAzureUpdate)
	})
}

// restartAdvice says how containers get a new value.
func restartAdvice(object *v2beta1.AzureKeyVaultSecret) string {
	if object.Status.PendingRestart != nil {
		return "wait for the restart that is pending; see 'kubectl akv2k8s explain akvs/" + object.Name + "'"
	}
	return "restart the workload with 'kubectl rollout restart', or let the controller do it (spec.rolloutRestart)"
}

func formatTime(t *metav1.Time) string { return t.UTC().Format(time.RFC3339) }

// addExpiry adds a finding if the object has expired, or expires soon.
func (x *podExplanation) addExpiry(object *v2beta1.AzureKeyVaultSecret, concerned string) {
	if finding := expiryFinding(object, x.Clock()); finding != nil {
		x.addProblem(*finding, concerned)
	}
}

// expiryFinding returns the finding about the expiry date; nil if it is far away.
func expiryFinding(object *v2beta1.AzureKeyVaultSecret, now time.Time) *doctor.Finding {
	expires := object.Status.Expires
	soon := meta.IsStatusConditionTrue(object.Status.Conditions, v2beta1.ConditionExpiringSoon)
	verb := "expires"
	switch {
	case expires == nil:
		return nil
	case !expires.After(now):
		verb = "expired"
	case !soon:
		return nil
	}
	return &doctor.Finding{Check: checkExpiry, Object: resourceObject(object.Name), Severity: doctor.Warning,
		What: fmt.Sprintf("its vault object %s at %s", verb, formatTime(expires)),
		Try:  "issue a new version in the vault"}
}

// addProblems adds the findings about resources, each once, with the variables that they concern.
func (x *podExplanation) addProblems() {
	slices.SortStableFunc(x.problems, func(a, b problem) int {
		return cmp.Or(strings.Compare(a.finding.Object, b.finding.Object),
			strings.Compare(a.finding.What, b.finding.What))
	})
	for _, problem := range x.problems {
		finding, concerned := problem.finding, "it concerns "+shortList(problem.concerned)
		if finding.Why != "" {
			concerned = finding.Why + "; " + concerned
		}
		finding.Why = concerned
		x.addFinding(finding)
	}
}

// addChangedSources adds findings about references that are not those with which the pod was created: the auth service
// does not answer them.
func (x *podExplanation) addChangedSources() {
	if x.simulated == nil || !x.result.Exists || !isInjected(x.pod) {
		return
	}
	for _, c := range injected.Containers(x.pod) {
		would := containerNamed(x.simulated, c.Name)
		if would == nil || injected.DeliveryOf(c) == injected.None || injected.AllowsUnrecorded(c) {
			continue
		}
		created, now := injected.References(x.pod, c), injected.References(x.simulated, *would)
		for _, variable := range slices.Sorted(maps.Keys(now)) {
			if created[variable].Reference == now[variable].Reference {
				continue
			}
			x.addFinding(doctor.Finding{Check: checkRecorded, Object: "container " + c.Name, Severity: doctor.Error,
				What: fmt.Sprintf("its variable %s refers to %s now, and the pod was not created with this "+
					"reference", variable, now[variable]),
				Why: originOf(c, variable, injected.Recorded) + " has changed; the auth service returns only " +
					"values that a pod referred to when it was created",
				Try: "recreate the pod"})
		}
	}
}

// addFailures adds the messages of containers that failed before their program started: those of the init containers
// of the webhook, and those of the injector, which begin with a reason. They never have a value. Those of programs can
// have one, so they are left out.
func (x *podExplanation) addFailures() {
	for _, status := range slices.Concat(x.pod.Status.InitContainerStatuses, x.pod.Status.ContainerStatuses) {
		isAdded := injected.IsAdded(corev1.Container{Name: status.Name})
		for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
			ended := state.Terminated
			if ended == nil || ended.ExitCode == 0 ||
				!isAdded && (!isInjected(x.pod) || !fault.BeginsWithReason(ended.Message)) {
				continue
			}
			x.addFinding(doctor.Finding{Check: checkStart, Object: "container " + status.Name,
				Severity: doctor.Error, What: fmt.Sprintf("it failed with exit code %d", ended.ExitCode),
				Why:     strings.TrimSpace(ended.Message),
				Try:     "do what the message says; the kubelet tries again if the pod may restart, and the log has more",
				Command: fmt.Sprintf("kubectl -n %s logs %s -c %s", x.pod.Namespace, x.pod.Name, status.Name)})
			break
		}
	}
}
