package object

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// statusDelay is the time in which the controller writes the status of a new resource or generation.
const statusDelay = time.Minute

// Resource checks one AzureKeyVaultSecret.
func Resource(s *cluster.State, name string) doctor.Check {
	right := doctor.Right{Verb: "get", Group: wire.Group, Resource: "azurekeyvaultsecrets", Name: name,
		Namespace: s.Namespace}
	return doctor.Check{Category: "AzureKeyVaultSecret " + s.Namespace + "/" + name, Name: "the resource is in sync",
		Needs: []doctor.Right{right},
		Run: func(ctx context.Context) []doctor.Finding {
			var resource v2beta1.AzureKeyVaultSecret
			err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, &resource)
			switch {
			case apierrors.IsNotFound(err):
				return []doctor.Finding{{Severity: doctor.Error, What: "it does not exist",
					Try: "list the resources of the namespace with: kubectl -n " + s.Namespace + " get akvs"}}
			case err != nil:
				return cluster.ReadFailure(err, right)
			}
			found := checkConditions(&resource, s.Now())
			return append(found, checkOutput(ctx, s, &resource)...)
		}}
}

func checkConditions(r *v2beta1.AzureKeyVaultSecret, now time.Time) []doctor.Finding {
	if len(r.Status.Conditions) == 0 {
		if now.Sub(r.CreationTimestamp.Time) < statusDelay {
			return []doctor.Finding{{Severity: doctor.Warning, What: "the controller has not read it yet",
				Try: "wait a minute: kubectl akv2k8s doctor akvs/" + r.Name + " --wait 1m"}}
		}
		return []doctor.Finding{{Severity: doctor.Error, What: "no controller has read it",
			Why: "the controller does not run, or does not watch this namespace, its labels or resources without " +
				"output",
			Try: "run kubectl akv2k8s doctor, and see the values watchAllNamespaces, controller.env.OBJECT_LABELS " +
				"and controller.watchInjected"}}
	}
	var found []doctor.Finding
	if r.Status.ObservedGeneration != 0 && r.Status.ObservedGeneration != r.Generation {
		found = append(found, doctor.Finding{Severity: doctor.Warning,
			What: "the status is that of an older spec", Why: "the controller is stopped, or has much work",
			Try: "run kubectl akv2k8s doctor"})
	}
	for _, kind := range []struct {
		name string
		// bad is the status of the condition that is worth a finding.
		bad      metav1.ConditionStatus
		severity doctor.Severity
	}{
		{v2beta1.ConditionReady, metav1.ConditionFalse, doctor.Error},
		{v2beta1.ConditionStale, metav1.ConditionTrue, doctor.Warning},
		{v2beta1.ConditionExpiringSoon, metav1.ConditionTrue, doctor.Warning},
		{v2beta1.ConditionContested, metav1.ConditionTrue, doctor.Error},
	} {
		c := apimeta.FindStatusCondition(r.Status.Conditions, kind.name)
		if c == nil || c.Status != kind.bad {
			continue
		}
		cause, next, _ := strings.Cut(c.Message, "; ")
		f := doctor.Finding{Severity: kind.severity, Object: "condition " + c.Type,
			What: c.Reason + ": " + cluster.ShortMessage(cause), Try: cluster.ShortMessage(next)}
		if c.Type == v2beta1.ConditionReady {
			f.Why = "since " + c.LastTransitionTime.UTC().Format(time.RFC3339) +
				"; docs/reference/errors.md lists the answers of Azure"
		}
		if c.Type == v2beta1.ConditionStale && apimeta.IsStatusConditionFalse(r.Status.Conditions,
			v2beta1.ConditionReady) {
			continue // an effect of the first
		}
		found = append(found, f)
	}
	return found
}

// checkOutput checks that the output that the status names exists. It reads its metadata alone.
func checkOutput(ctx context.Context, s *cluster.State, r *v2beta1.AzureKeyVaultSecret) []doctor.Finding {
	name := r.Status.SecretName
	if name == "" || !apimeta.IsStatusConditionTrue(r.Status.Conditions, v2beta1.ConditionReady) {
		return nil
	}
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	right := doctor.Right{Verb: "get", Resource: "secrets", Name: name, Namespace: r.Namespace}
	err := s.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: name}, secret)
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return []doctor.Finding{{Severity: doctor.Error, Object: "secret/" + name,
			What: "the resource is in sync, but its Secret does not exist",
			Why:  "something deletes it, or the controller is stopped",
			Try: fmt.Sprintf("find out what deletes it in the audit log; a refresh creates it again: kubectl -n %s "+
				"annotate akvs %s %s=$(date +%%s) --overwrite", r.Namespace, r.Name, wire.AnnotationRefresh)}}
	}
	return cluster.ReadFailure(err, right)
}
