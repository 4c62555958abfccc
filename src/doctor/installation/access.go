package installation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/rights"
)

var reviewAccess = doctor.Right{Verb: "create", Group: "authorization.k8s.io", Resource: "subjectaccessreviews"}

// Access checks that the ServiceAccounts of the components exist, and have the rights that the code needs. It asks the
// API server, so that roles of users count as well as those of the chart.
func Access(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: cluster.CheckAccess,
		Needs: []doctor.Right{reviewAccess},
		Run: func(ctx context.Context) []doctor.Finding {
			return s.ForEach(ctx, func(i *cluster.Installation) []doctor.Finding {
				if i.IsV1() {
					return nil // its rights are others
				}
				return append(checkAccount(ctx, s, i, i.Controller, rights.ControllerRoles()),
					checkAccount(ctx, s, i, i.Injector, rights.InjectorRoles())...)
			})
		}}
}

// checkAccount checks the ServiceAccount of one component.
func checkAccount(ctx context.Context, s *cluster.State, i *cluster.Installation, d *appsv1.Deployment,
	roles []rights.Role) []doctor.Finding {
	if d == nil {
		return nil
	}
	name := d.Spec.Template.Spec.ServiceAccountName
	if name == "" {
		name = "default"
	}
	object := fmt.Sprintf("serviceaccount/%s", name)
	var account corev1.ServiceAccount
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: d.Namespace, Name: name}, &account); err != nil {
		if apierrors.IsNotFound(err) {
			return []doctor.Finding{{Severity: doctor.Error, Object: object, What: "it does not exist in namespace " +
				d.Namespace, Why: "the pods of " + d.Name + " can't be created",
				Try: "set serviceAccount.create to true, or create it"}}
		}
		return cluster.ReadFailure(err, doctor.Right{Verb: "get", Resource: "serviceaccounts", Name: name,
			Namespace: d.Namespace})
	}
	var missing []string
	for _, role := range roles {
		if !rights.ConditionHolds(role.Condition, settingsOf(i)) || role.NamespacesValue != "" {
			continue // namespaces of these roles are in the values alone
		}
		lacking, problem := missingPermissions(ctx, s, i, accountRole{d.Namespace, name, role})
		if problem != nil {
			return problem
		}
		missing = append(missing, lacking...)
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return []doctor.Finding{{Severity: doctor.Error, Object: object, What: fmt.Sprintf("it lacks %d rights: %s",
		len(missing), strings.Join(missing[:min(len(missing), 5)], ", ")),
		Why: "a role or binding of the chart is missing, or was changed",
		Try: "set global.rbac.create to true and run helm upgrade, or grant what docs/security/rbac.md lists"}}
}

// accountRole is a role that a ServiceAccount must have.
type accountRole struct {
	namespace, account string
	role               rights.Role
}

// missingPermissions returns the permissions of a role that the ServiceAccount does not have.
func missingPermissions(ctx context.Context, s *cluster.State, i *cluster.Installation, of accountRole) ([]string,
	[]doctor.Finding) {
	alone := !i.WatchesAll()
	namespace := ""
	if of.role.Scope == rights.ScopeOwnNamespace || of.role.Scope == rights.ScopeWatched && alone {
		namespace = i.Namespace
	}
	var needed []doctor.Right
	for _, rule := range of.role.Rules {
		if !rule.HasKnownNames() || !rights.ConditionHolds(rule.Condition, settingsOf(i)) {
			continue
		}
		for _, p := range rule.PermissionsOf(rights.Names{Fullname: i.Fullname, Namespace: i.Namespace}, alone) {
			needed = append(needed, doctor.Right{Verb: p.Verb, Group: p.Group, Resource: p.Resource,
				Subresource: p.Subresource, Name: p.Name, Namespace: namespace})
		}
	}
	allowed := make([]bool, len(needed))
	group, reviews := errgroup.WithContext(ctx)
	group.SetLimit(limits.DoctorParallel)
	for n, right := range needed {
		group.Go(func() (err error) {
			allowed[n], err = isAccountAllowed(reviews, s.Client, of, right)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, cluster.ReadFailure(err, reviewAccess)
	}
	var missing []string
	for n, right := range needed {
		if !allowed[n] {
			missing = append(missing, right.String())
		}
	}
	return missing, nil
}

func isAccountAllowed(ctx context.Context, c client.Client, of accountRole, right doctor.Right) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "system:serviceaccount:" + of.namespace + ":" + of.account,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + of.namespace,
			"system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: right.Verb, Group: right.Group,
			Resource: right.Resource, Subresource: right.Subresource, Name: right.Name, Namespace: right.Namespace}}}
	err := c.Create(ctx, review)
	return review.Status.Allowed, err
}

// settingsOf returns the chart values on which rights depend, as the flags of the components show them. Unknown values
// are false.
func settingsOf(i *cluster.Installation) func(path string) bool {
	has := func(d *appsv1.Deployment, flag string) bool { return cluster.Flag(d, flag) == "true" }
	ownCertificate := cluster.Flag(i.Injector, "webhook-certificates") == ""
	values := map[string]bool{
		"watchAllNamespaces":                      i.WatchesAll(),
		"env_injector.authService":                has(i.Injector, "auth-service"),
		"env_injector.watchNodes":                 has(i.Injector, "watch-nodes"),
		"env_injector.legacyAuthService.enabled":  has(i.Injector, "legacy-auth-service"),
		"controller.rolloutRestart.enabled":       has(i.Controller, "rollout-restart"),
		"controller.rolloutRestart.argoRollouts":  has(i.Controller, "rollout-restart-argo-rollouts"),
		"env_injector.certificate.useCertManager": !ownCertificate,
		"env_injector.certificate.custom.enabled": !ownCertificate,
	}
	return func(path string) bool { return values[path] }
}
