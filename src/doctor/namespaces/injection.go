package namespaces

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

const category = "Namespaces"

// Injection checks in each labelled namespace that a pod with a reference is injected and accepted. It creates the pod
// as a dry run, so the API server calls our webhook and all others, and keeps nothing.
func Injection(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: "pods are injected, and no policy denies them",
		Run: func(ctx context.Context) []doctor.Finding {
			return s.ForEachServing(ctx, func(i *cluster.Installation) []doctor.Finding {
				if i.Injector == nil || i.IsV1() {
					return nil
				}
				return checkInjection(ctx, s, i)
			})
		}}
}

func checkInjection(ctx context.Context, s *cluster.State, i *cluster.Installation) []doctor.Finding {
	injected, problem := s.InjectedNamespaces(ctx, i)
	if problem != nil {
		return problem
	}
	label, value := i.Injection()
	if len(injected) == 0 {
		if s.Namespace != "" {
			return []doctor.Finding{{Severity: doctor.Warning, Object: "namespace/" + s.Namespace,
				What: "its pods are not injected: it lacks the label " + label + "=" + value,
				Why:  "that is right if its pods have no references", Try: "add the label",
				Command: fmt.Sprintf("kubectl label namespace %s %s=%s", s.Namespace, label, value)}}
		}
		return doctor.Passed("no namespace has the label " + label + "=" + value + ", so no pod is injected")
	}
	var found []doctor.Finding
	if len(injected) > limits.DoctorNamespaces {
		found = append(found, doctor.Finding{Severity: doctor.OK, What: fmt.Sprintf(
			"%d namespaces have the label, and the first %d were checked; use -n for another one", len(injected),
			limits.DoctorNamespaces)})
		injected = injected[:limits.DoctorNamespaces]
	}
	results := make([][]doctor.Finding, len(injected))
	var group errgroup.Group
	group.SetLimit(limits.DoctorParallel)
	retryUntil := time.Now().Add(limits.DoctorWebhookWait) // for all namespaces together
	for n, namespace := range injected {
		group.Go(func() error {
			results[n] = checkNamespace(ctx, s, i, dryRun{namespace.Name, retryUntil})
			return nil
		})
	}
	_ = group.Wait() // there are findings, and no errors
	for _, one := range results {
		found = append(found, one...)
	}
	return mergeEqual(found)
}

// mergeEqual keeps one finding of those that differ only in the namespace, because the webhook has the same fault in
// all of them.
func mergeEqual(all []doctor.Finding) []doctor.Finding {
	var merged []doctor.Finding
	at := map[string]int{}
	for _, f := range all {
		key := f.What + "\x00" + f.Why + "\x00" + f.Try
		if n, known := at[key]; known && f.Object != "" {
			merged[n].Object += ", " + strings.TrimPrefix(f.Object, "namespace/")
			continue
		}
		at[key] = len(merged)
		merged = append(merged, f)
	}
	for n := range merged {
		if names := strings.Split(merged[n].Object, ", "); len(names) > 3 {
			merged[n].Object = strings.Join(names[:3], ", ") + fmt.Sprintf(" and %d more", len(names)-3)
		}
	}
	return merged
}

// dryRun is a pod that is created as a dry run in a namespace.
type dryRun struct {
	namespace string
	// retryUntil is the time until which a call of the webhook that failed for a moment is repeated.
	retryUntil time.Time
}

func checkNamespace(ctx context.Context, s *cluster.State, i *cluster.Installation, d dryRun) []doctor.Finding {
	name := d.namespace
	right := doctor.Right{Verb: "create", Resource: "pods", Namespace: name}
	missing, err := s.MissingRights(ctx, []doctor.Right{right})
	if err != nil {
		return []doctor.Finding{doctor.FromError("", err)}
	}
	if len(missing) > 0 {
		return []doctor.Finding{doctor.MissingRight(missing...)}
	}
	// Policies can restrict registries, so the installation's own image is the better one.
	image := "registry.k8s.io/pause"
	if c := cluster.Container(i.Injector); c != nil {
		image = c.Image
	}
	pod, err := d.createInjected(ctx, s.Client, image)
	if err == nil {
		if isInjected(pod) {
			return nil
		}
		return []doctor.Finding{{Severity: doctor.Error, Object: "namespace/" + name,
			What: "a pod with a reference was accepted, but not injected",
			Why: "the API server did not call the webhook, or called it and ignored that it failed, or another " +
				"webhook undid the change",
			Try:      "compare the labels of the namespace with the namespaceSelector of the webhook configuration",
			EffectOf: webhookCauses()}}
	}
	finding := explainDenial(ctx, err)
	finding.Object = "namespace/" + name
	if finding.Severity == doctor.Error && !isWebhookFailure(err.Error()) && !errors.Is(err, errSlowAdmission) {
		if _, plain := createDry(ctx, s.Client, testPod(name, image, false)); plain != nil {
			// What denies a pod without injection too is no fault of akv2k8s, and other pods can pass.
			finding.Severity = doctor.Warning
			finding.What = "the pod of this check was denied, also without injection"
			if !hasAny(finding.Why, "quota") {
				finding.Try = "if pods of the namespace are denied, too, correct what the message names"
			}
		}
	}
	return []doctor.Finding{finding}
}

// createInjected creates the pod with a reference as a dry run. If the API server can't connect to the webhook, it
// tries again: directly after an installation or a rollout, the service proxies do not have all endpoints yet.
func (d dryRun) createInjected(ctx context.Context, c client.Client, image string) (*corev1.Pod, error) {
	for {
		pod, err := createDry(ctx, c, testPod(d.namespace, image, true))
		if err == nil || !isMomentary(err.Error()) || time.Now().After(d.retryUntil) {
			return pod, err
		}
		select {
		case <-ctx.Done():
			return pod, err
		case <-time.After(webhookPause):
		}
	}
}

// webhookPause is the time between two calls of a webhook that could not be reached.
const webhookPause = 500 * time.Millisecond

// webhookCauses are the checks that find out why the API server can't call the webhook.
func webhookCauses() []string {
	return []string{cluster.CheckReadiness, cluster.CheckConfiguration, cluster.CheckService, cluster.CheckBundle,
		cluster.CheckServing, cluster.CheckPolicies, cluster.CheckLeftovers}
}

// isWebhookFailure reports whether the API server could not call our webhook.
func isWebhookFailure(text string) bool {
	return hasAny(text, `failed calling webhook "`+cluster.WebhookName)
}

// isMomentary reports whether the API server could not connect to our webhook, as in the moment in which its pods start
// or end.
func isMomentary(text string) bool {
	return isWebhookFailure(text) && hasAny(text, "connection refused", "no endpoints available",
		"connection reset by peer", ": EOF")
}

// explainDenial returns the finding for an error of the API server, without an object.
func explainDenial(ctx context.Context, err error) doctor.Finding {
	text := err.Error()
	f := doctor.Finding{Severity: doctor.Error, Why: cluster.ShortMessage(text)}
	switch {
	case ctx.Err() != nil:
		f.Severity, f.What, f.Why = doctor.Warning, "the API server did not answer in time", ""
		f.Try = "allow more time with --timeout, such as 60s"
	case errors.Is(err, errSlowAdmission):
		f.What = "the API server did not end the creation of a pod in time"
		f.Why = "it waits for a webhook: ours, if it can't reach the env-injector, or another one"
		f.Try = "find out which one with --timeout 60s, which lets the API server end its wait"
		f.EffectOf = webhookCauses()
	case isWebhookFailure(text):
		f.What, f.Try = explainWebhookFailure(text)
		f.EffectOf = webhookCauses()
	case hasAny(text, `admission webhook "`+cluster.WebhookName):
		f.What, f.Try = "the env-injector denied a pod with a valid reference", "see the log of the env-injector"
	case hasAny(text, "exceeded quota", "failed quota"):
		f.What = "a ResourceQuota denies injected pods"
		f.Try = "raise the quota; env_injector.initContainer sets what the init container requests"
	case hasAny(text, "per container", "per pod", "limit to request ratio"):
		f.What = "a LimitRange denies injected pods"
		f.Try = "set resources within the LimitRange in env_injector.initContainer"
	case hasAny(text, "violates podsecurity"):
		f.What = "the Pod Security Standard of the namespace denies injected pods"
		f.Try = "set env_injector.initContainer.securityContext as the standard requires, or see " +
			"docs/how-to/pod-security.md"
	case hasAny(text, "validatingadmissionpolicy"):
		f.What = "a ValidatingAdmissionPolicy denies injected pods"
		f.Try = "allow the init container and the volume of akv2k8s in this policy, see docs/how-to/pod-security.md"
	case hasAny(text, "admission webhook"):
		f.What = "a policy of another admission webhook denies injected pods"
		f.Try = "allow the init container and the volume of akv2k8s in this policy, see docs/how-to/pod-security.md"
	case hasAny(text, "failed calling webhook"):
		f.What = "the API server can't call another webhook, which prevents all pods"
		f.Try = "repair or remove the webhook that the message names"
	case apierrors.IsNotFound(err):
		f.What, f.Try = "the pod could not be created: something that it needs does not exist",
			"create the ServiceAccount default, or the namespace"
	default:
		f.What, f.Try = "the API server denies injected pods",
			"the message names what denies them; allow injected pods there"
	}
	return f
}

// explainWebhookFailure returns why the API server could not call the webhook, and the next step.
func explainWebhookFailure(text string) (what, try string) {
	switch {
	case hasAny(text, "x509", "certificate", "tls:"):
		return "the API server does not accept the certificate of the webhook",
			"see the checks of the CA bundle; without the right to read it, restart the env-injector, which writes it"
	case hasAny(text, "no endpoints available"):
		return "the API server finds no ready pod of the env-injector", "see the checks of its pods and Service"
	case hasAny(text, "connection refused"):
		return "the env-injector refuses the connection of the API server",
			"check that env_injector.service.internalTlsPort is the port on which it listens"
	case hasAny(text, "deadline exceeded", "timeout", "i/o timeout", "no route to host"):
		return "the API server can't reach the env-injector in time",
			"allow the API server to reach the pods' TLS port: a NetworkPolicy, a firewall between control plane and " +
				"nodes, or a network of pods that the control plane can't reach"
	case hasAny(text, "not found"):
		return "the Service of the webhook does not exist", "run helm upgrade with the values of the installation"
	}
	return "the API server can't call the webhook", "see the log of the env-injector, and the message"
}
