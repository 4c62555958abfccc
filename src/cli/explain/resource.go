package explain

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/schedule"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// resourceExplanation is the explanation of one AzureKeyVaultSecret in progress.
type resourceExplanation struct {
	*Explainer
	read   *resourceRead
	object *v2beta1.AzureKeyVaultSecret
	result *Resource
}

// Resource explains an AzureKeyVaultSecret. It returns fault.NotFound if there is none.
func (e *Explainer) Resource(ctx context.Context, key types.NamespacedName) (*Resource, error) {
	read, err := e.readResource(ctx, key)
	if err != nil {
		return nil, err
	}
	if read.object == nil {
		return nil, fault.NewWithNextStep(fault.NotFound, "list them with 'kubectl akv2k8s get'",
			"there is no AzureKeyVaultSecret %q in namespace %q", key.Name, key.Namespace)
	}
	object := read.object
	x := &resourceExplanation{Explainer: e, read: read, object: object, result: &Resource{
		Namespace: object.Namespace, Name: object.Name, Vault: object.Spec.Vault.Name, Identity: identityOf(object),
		Version: object.Status.VaultVersion, Changed: object.Status.LastAzureUpdate, Expires: object.Status.Expires,
		Conditions: object.Status.Conditions, SyncedBy: object.Status.SyncedBy, Searches: len(object.Spec.DataFrom),
		Findings: []doctor.Finding{}}}
	for _, item := range read.recipe.Items {
		x.result.Objects = append(x.result.Objects, Object{item.Name, string(item.Type), item.Version, item.DataKey})
	}
	x.explainConditions()
	x.explainRefresh()
	if err := x.explainOutputs(ctx); err != nil {
		return nil, err
	}
	return x.result, x.explainRestarts(ctx)
}

// addFinding adds a finding about the resource, or about the object that it names.
func (x *resourceExplanation) addFinding(f doctor.Finding) {
	f.Object = cmp.Or(f.Object, resourceObject(x.object.Name))
	x.result.Findings = append(x.result.Findings, f)
}

// explainConditions adds findings about conditions that are not as they have to be.
func (x *resourceExplanation) explainConditions() {
	if x.read.invalid != nil {
		x.addFinding(doctor.Finding{Check: checkSpec, Severity: doctor.Error, What: "its spec is not valid",
			Why: fault.CauseOf(x.read.invalid), Try: cmp.Or(fault.NextStepOf(x.read.invalid),
				"correct the field that the message names")})
	}
	ready := meta.FindStatusCondition(x.object.Status.Conditions, v2beta1.ConditionReady)
	if ready == nil {
		try := "see whether its pods run and watch this namespace (watchAllNamespaces) and these labels " +
			"(controller.env.OBJECT_LABELS)"
		if x.object.Spec.Output == nil {
			try += ", and resources without output (controller.watchInjected)"
		}
		x.addFinding(doctor.Finding{Check: checkReady, Severity: doctor.Error, What: "no controller has read it",
			Why: "its status has no condition Ready", Try: try})
	} else if ready.Status != metav1.ConditionTrue {
		x.result.LastError = ready.Message
		x.addFinding(doctor.Finding{Check: checkReady, Severity: doctor.Error,
			What: "it is not ready: " + ready.Reason, Why: ready.Message, Try: tryFor(kindWithReason(ready.Reason))})
	}
	contested := meta.FindStatusCondition(x.object.Status.Conditions, v2beta1.ConditionContested)
	if contested != nil && contested.Status == metav1.ConditionTrue {
		x.addFinding(doctor.Finding{Check: checkOwner, Severity: doctor.Error,
			What: "two installations sync it", Why: contested.Message,
			Try: "let only one of them watch the namespace, or give each its own labels " +
				"(controller.env.OBJECT_LABELS)"})
	}
	if finding := expiryFinding(x.object, x.Clock()); finding != nil {
		x.addFinding(*finding)
	}
}

// tryFor returns the next step for a kind of failure. The message of the condition has the details.
func tryFor(kind fault.Kind) string {
	switch kind {
	case fault.Throttled, fault.Unavailable:
		return "wait: the controller retries within half a minute; 'kubectl akv2k8s refresh' waits for the result"
	case fault.Invalid:
		return "change the spec; the controller does not retry before"
	case fault.Denied, fault.Unauthenticated:
		return "do what the message says; the controller retries within 5 minutes, or at once with " +
			"'kubectl akv2k8s refresh'"
	case fault.Bug:
		return "see the log of the controller"
	}
	return "do what the message says, and then run 'kubectl akv2k8s refresh'"
}

// explainRefresh says when the vault is read next.
func (x *resourceExplanation) explainRefresh() {
	interval := x.read.recipe.RefreshInterval
	ready := meta.IsStatusConditionTrue(x.object.Status.Conditions, v2beta1.ConditionReady)
	switch {
	case x.read.invalid != nil:
		x.result.Refresh = "not before the spec is changed"
	case x.read.recipe.IsReadOnce():
		x.result.Refresh = "once (spec.refreshInterval: 0)"
	case interval == nil:
		x.result.Refresh = "at the interval of the installation, which the status does not show"
	default:
		x.result.Refresh = fmt.Sprintf("every %s (spec.refreshInterval)", interval)
		if ready {
			next := metav1.NewTime(schedule.NextRefresh(x.object.UID, *interval, x.Clock()))
			x.result.NextRefresh = &next
		}
	}
	if !ready && x.read.invalid == nil {
		x.result.Refresh += "; after a failure it is retried earlier, in seconds or minutes"
	}
	requested := x.object.Annotations[wire.AnnotationRefresh]
	isPlain := len(requested) <= limits.RefreshRequestBytes
	if requested != "" && isPlain && requested != x.object.Status.Refresh && !strings.HasPrefix(x.object.Status.Refresh,
		"sha256:") {
		x.addFinding(doctor.Finding{Check: checkRefresh, Severity: doctor.Warning,
			What: "a requested refresh has no answer yet",
			Why:  fmt.Sprintf("the annotation %s is not the same as status.refresh", wire.AnnotationRefresh),
			Try:  "wait, or see why the controller does not read the vault"})
	}
}

// restartKinds has the API version of each kind of workload that can be restarted.
func restartKinds() map[string]string {
	return map[string]string{recipe.Deployment: "apps/v1", recipe.StatefulSet: "apps/v1", recipe.DaemonSet: "apps/v1",
		recipe.Rollout: "argoproj.io/v1alpha1"}
}

// explainRestarts says which workloads are restarted.
func (x *resourceExplanation) explainRestarts(ctx context.Context) error {
	restart := x.object.Spec.RolloutRestart
	if restart == nil {
		return nil
	}
	status := x.object.Status
	found := &Restarts{Selects: selectionText(restart), More: status.MoreWorkloads}
	if status.PendingRestart != nil {
		found.Pending = &status.PendingRestart.ChangedAt
	}
	x.result.Restarts = found
	for _, w := range status.Workloads {
		found.Workloads = append(found.Workloads, Workload{w.Kind, w.Name, w.Version, cmp.Or(w.Pending, "up to date")})
		if w.Pending != "" {
			x.addFinding(doctor.Finding{Check: checkRestarts, Object: kindObject(w.Kind, w.Name),
				Severity: doctor.Warning, What: "it has not been restarted", Why: w.Pending,
				Try: "see docs/troubleshooting.md, 'A workload was not restarted'"})
		}
	}
	for _, w := range restart.Workloads {
		if slices.ContainsFunc(found.Workloads, func(f Workload) bool { return f.Kind == w.Kind && f.Name == w.Name }) {
			continue
		}
		state, err := x.stateOfWorkload(ctx, w)
		if err != nil {
			return err
		}
		found.Workloads = append(found.Workloads, Workload{Kind: w.Kind, Name: w.Name, State: state})
	}
	if len(found.Workloads) == 0 && found.More == 0 {
		found.Selects += "; which ones they are is known after the next change"
	}
	return nil
}

func selectionText(r *v2beta1.AzureKeyVaultRolloutRestart) string {
	switch {
	case r.Auto:
		return "workloads whose pods use the output or refer to the resource (auto)"
	case r.Selector != nil && len(r.Workloads) > 0:
		return "the named workloads, and those with the labels of the selector"
	case r.Selector != nil:
		return "workloads with the labels of the selector"
	}
	return "the named workloads"
}

// stateOfWorkload says whether a workload that has not been restarted yet can be restarted.
func (x *resourceExplanation) stateOfWorkload(ctx context.Context, w v2beta1.AzureKeyVaultWorkload) (string, error) {
	object := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: restartKinds()[w.Kind], Kind: w.Kind}}
	err := x.Reader.Get(ctx, types.NamespacedName{Namespace: x.object.Namespace, Name: w.Name}, object)
	switch {
	case apierrors.IsForbidden(err):
		return "not known: you may not read it", nil
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		x.addFinding(doctor.Finding{Check: checkRestarts, Object: kindObject(w.Kind, w.Name),
			Severity: doctor.Warning, What: "spec.rolloutRestart names it, but it does not exist",
			Try: "correct spec.rolloutRestart.workloads"})
		return "does not exist", nil
	case err != nil:
		return "", err
	case object.Annotations[wire.AnnotationRestart] != "true":
		x.addFinding(doctor.Finding{Check: checkRestarts, Object: kindObject(w.Kind, w.Name),
			Severity: doctor.Warning, What: "it does not allow restarts",
			Why: fmt.Sprintf("it has no annotation %s: \"true\"", wire.AnnotationRestart),
			Try: "add the annotation, also in the manifest of the workload",
			Command: fmt.Sprintf("kubectl -n %s annotate %s %s %s=true", x.object.Namespace, strings.ToLower(w.Kind),
				w.Name, wire.AnnotationRestart)})
		return "is not restarted: it has no annotation " + wire.AnnotationRestart, nil
	}
	return "is restarted after the next change", nil
}
