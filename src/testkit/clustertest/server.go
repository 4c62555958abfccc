package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
)

// createObject answers reviews of access and dry runs of pods, and creates all other objects.
func (c *Cluster) createObject(ctx context.Context, next client.WithWatch, object client.Object,
	options ...client.CreateOption) error {
	applied := (&client.CreateOptions{}).ApplyOptions(options)
	switch typed := object.(type) {
	case *authorizationv1.SelfSubjectAccessReview:
		a := typed.Spec.ResourceAttributes
		typed.Status.Allowed = c.Denies == nil || !c.Denies(a.Verb, a.Resource, a.Namespace)
		return nil
	case *authorizationv1.SubjectAccessReview:
		if c.denies("create", "subjectaccessreviews", "") {
			return forbidden("subjectaccessreviews")
		}
		typed.Status.Allowed = c.isAccountAllowed(typed.Spec)
		return nil
	case *corev1.Pod:
		if len(applied.DryRun) > 0 {
			return c.admitPod(ctx, next, typed)
		}
	}
	return next.Create(ctx, object, options...)
}

func (c *Cluster) denies(verb, resource, namespace string) bool {
	return c.Denies != nil && c.Denies(verb, resource, namespace)
}

func forbidden(resource string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("the user lacks the right"))
}

// resourceOf returns the name of the resource of an object or a list.
func resourceOf(object any) string {
	kind := strings.ToLower(strings.TrimSuffix(typeName(object), "List"))
	if kind == "networkpolicy" {
		return "networkpolicies"
	}
	return kind + "s"
}

func (c *Cluster) getObject(ctx context.Context, next client.WithWatch, key client.ObjectKey, object client.Object,
	options ...client.GetOption) error {
	namespace := key.Namespace
	if _, ok := object.(*corev1.Namespace); ok {
		namespace = key.Name
	}
	if c.denies("get", resourceOf(object), namespace) {
		return forbidden(resourceOf(object))
	}
	return next.Get(ctx, key, object, options...)
}

func (c *Cluster) listObjects(ctx context.Context, next client.WithWatch, list client.ObjectList,
	options ...client.ListOption) error {
	applied := (&client.ListOptions{}).ApplyOptions(options)
	if c.denies("list", resourceOf(list), applied.Namespace) {
		return forbidden(resourceOf(list))
	}
	return next.List(ctx, list, options...)
}

// admitPod is the admission of a pod: the webhook, if the namespace has the label, and then Admit.
func (c *Cluster) admitPod(ctx context.Context, next client.WithWatch, pod *corev1.Pod) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var namespace corev1.Namespace
	if err := next.Get(ctx, client.ObjectKey{Name: pod.Namespace}, &namespace); err != nil {
		return err
	}
	if namespace.Labels["azure-key-vault-env-injection"] == "enabled" && !c.IgnoresWebhook &&
		pod.Labels["akv2k8s.io/inject"] != "false" {
		if c.SlowWebhook {
			<-ctx.Done()
			return ctx.Err()
		}
		if err := c.CallWebhook; err != nil {
			if c.WebhookFailures--; c.WebhookFailures == 0 {
				c.CallWebhook = nil // this was the last one
			}
			return apierrors.NewInternalError(err)
		}
		plan, err := inject.Decide(pod, inject.Sources{})
		if err != nil {
			return err
		}
		*pod = *inject.Mutate(pod, plan, inject.Settings{Image: "ghcr.io/akv2k8s/env:2.0.0", Broker: "broker:9443"})
	}
	c.DryRuns = append(c.DryRuns, pod.DeepCopy())
	if c.Admit != nil {
		return c.Admit(pod)
	}
	return nil
}

// isAccountAllowed evaluates the roles of the cluster for a ServiceAccount.
func (c *Cluster) isAccountAllowed(spec authorizationv1.SubjectAccessReviewSpec) bool {
	a := spec.ResourceAttributes
	for _, object := range c.Objects {
		switch binding := object.(type) {
		case *rbacv1.ClusterRoleBinding:
			if isSubject(binding.Subjects, spec.User) && c.roleAllows(binding.RoleRef, "", a) {
				return true
			}
		case *rbacv1.RoleBinding:
			if binding.Namespace == a.Namespace && isSubject(binding.Subjects, spec.User) &&
				c.roleAllows(binding.RoleRef, binding.Namespace, a) {
				return true
			}
		}
	}
	return false
}

func isSubject(subjects []rbacv1.Subject, user string) bool {
	return slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool {
		return user == "system:serviceaccount:"+s.Namespace+":"+s.Name
	})
}

func (c *Cluster) roleAllows(ref rbacv1.RoleRef, namespace string, a *authorizationv1.ResourceAttributes) bool {
	for _, object := range c.Objects {
		switch role := object.(type) {
		case *rbacv1.ClusterRole:
			if ref.Kind == "ClusterRole" && role.Name == ref.Name && rulesAllow(role.Rules, a) {
				return true
			}
		case *rbacv1.Role:
			if ref.Kind == "Role" && role.Name == ref.Name && role.Namespace == namespace && rulesAllow(role.Rules, a) {
				return true
			}
		}
	}
	return false
}

func rulesAllow(rules []rbacv1.PolicyRule, a *authorizationv1.ResourceAttributes) bool {
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	return slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.APIGroups, a.Group) && slices.Contains(r.Resources, resource) &&
			slices.Contains(r.Verbs, a.Verb) && (len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, a.Name))
	})
}

func typeName(object any) string {
	text := strings.TrimPrefix(fmt.Sprintf("%T", object), "*")
	return text[strings.LastIndex(text, ".")+1:]
}
