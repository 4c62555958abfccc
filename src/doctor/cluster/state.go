package cluster

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Config configures a State. Client, Server and Now are required.
type Config struct {
	// Client reads objects, and creates pods as dry runs and reviews of access. It has no cache.
	Client client.Client
	Server Server
	Now    func() time.Time
	// Namespace restricts the checks to the namespace of a tenant; empty means the cluster.
	Namespace string
	// SystemNamespace is the namespace of the installation, used if the installations can't be listed.
	SystemNamespace string
	// Version is the version of the command, which is compared with the installation's unless it ends with -dev.
	Version string
}

// State is what the checks of one run share. It is safe for concurrent use.
type State struct {
	Config
	mu    sync.Mutex
	lists map[listKey]*listResult
	// allowed remembers answers about rights.
	allowed map[doctor.Right]bool
}

// listKey identifies a list: its type and its options.
type listKey struct {
	kind    reflect.Type
	options string
}

// listResult is a list that was read, or is being read while mu is held.
type listResult struct {
	mu       sync.Mutex
	done     bool
	list     client.ObjectList
	complete bool
}

// New returns a State that has read nothing.
func New(c Config) *State {
	return &State{Config: c, lists: map[listKey]*listResult{}, allowed: map[doctor.Right]bool{}}
}

// List reads all pages of a list into the given empty list, which the caller must not change. complete is false if the
// list has more than limits.DoctorListItems objects. Equal lists are read once.
func (s *State) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) (complete bool,
	err error) {
	applied := (&client.ListOptions{}).ApplyOptions(options)
	key := listKey{reflect.TypeOf(list), fmt.Sprint(applied.Namespace, "/", applied.LabelSelector, "/",
		applied.FieldSelector)}
	s.mu.Lock()
	result, ok := s.lists[key]
	if !ok {
		result = &listResult{}
		s.lists[key] = result
	}
	s.mu.Unlock()
	result.mu.Lock()
	defer result.mu.Unlock()
	if !result.done {
		read := reflect.New(reflect.TypeOf(list).Elem()).Interface().(client.ObjectList)
		if result.complete, err = s.readPages(ctx, read, options); err != nil {
			return false, err // the next check tries again
		}
		result.list, result.done = read, true
	}
	reflect.ValueOf(list).Elem().Set(reflect.ValueOf(result.list).Elem())
	return result.complete, nil
}

// ListIn reads the objects of one namespace into the given empty list. If the checks are about the cluster, it takes
// them from the list of all namespaces, which is one request for all of them.
func (s *State) ListIn(ctx context.Context, list client.ObjectList, namespace string) error {
	if s.Namespace != "" {
		_, err := s.List(ctx, list, client.InNamespace(namespace))
		return err
	}
	if _, err := s.List(ctx, list); err != nil {
		if !apierrors.IsForbidden(err) {
			return err
		}
		_, err = s.List(ctx, list, client.InNamespace(namespace))
		return err
	}
	all, err := meta.ExtractList(list)
	if err != nil {
		return err
	}
	var own []runtime.Object // other checks share the list, which stays as it is
	for _, item := range all {
		if object, ok := item.(client.Object); ok && object.GetNamespace() == namespace {
			own = append(own, item)
		}
	}
	return meta.SetList(list, own)
}

// readPages reads the pages of a list.
func (s *State) readPages(ctx context.Context, into client.ObjectList, options []client.ListOption) (complete bool,
	err error) {
	var all []runtime.Object
	for next := ""; ; {
		page := reflect.New(reflect.TypeOf(into).Elem()).Interface().(client.ObjectList)
		if err := s.Client.List(ctx, page, append([]client.ListOption{client.Limit(limits.DoctorListPage),
			client.Continue(next)}, options...)...); err != nil {
			return false, err
		}
		items, err := meta.ExtractList(page)
		if err != nil {
			return false, err
		}
		all = append(all, items...)
		next = page.GetContinue()
		if next == "" || len(all) >= limits.DoctorListItems {
			return next == "", meta.SetList(into, all)
		}
	}
}

// MissingRights returns those rights that the user does not have, by SelfSubjectAccessReviews.
func (s *State) MissingRights(ctx context.Context, rights []doctor.Right) ([]doctor.Right, error) {
	var missing []doctor.Right
	for _, right := range rights {
		allowed, err := s.isAllowed(ctx, right)
		if err != nil {
			return nil, err
		}
		if !allowed {
			missing = append(missing, right)
		}
	}
	return missing, nil
}

func (s *State) isAllowed(ctx context.Context, right doctor.Right) (bool, error) {
	s.mu.Lock()
	allowed, known := s.allowed[right]
	s.mu.Unlock()
	if known {
		return allowed, nil
	}
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: right.Verb, Group: right.Group,
			Resource: right.Resource, Subresource: right.Subresource, Name: right.Name, Namespace: right.Namespace}}}
	if err := s.Client.Create(ctx, review); err != nil {
		return false, fmt.Errorf("asking the API server for your rights: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed[right] = review.Status.Allowed
	return review.Status.Allowed, nil
}

// ReadFailure returns the finding for a failed read: a missing right, a missing kind, or another error. right is the
// one that the read needs.
func ReadFailure(err error, right doctor.Right) []doctor.Finding {
	switch {
	case apierrors.IsForbidden(err):
		return []doctor.Finding{doctor.MissingRight(right)}
	case meta.IsNoMatchError(err):
		return []doctor.Finding{{Severity: doctor.Skipped, What: "the API server does not serve " +
			right.Resource}}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return []doctor.Finding{{Severity: doctor.Warning, What: "the API server did not answer in time",
			Try: "allow more time with --timeout, such as 60s"}}
	}
	return []doctor.Finding{{Severity: doctor.Error, What: "the API server did not answer the request to " +
		right.String(), Why: ShortMessage(err.Error()),
		Try: "check the connection with: kubectl get --raw /readyz"}}
}

// ShortMessage shortens a message of another program to limits.DoctorMessageBytes.
func ShortMessage(text string) string {
	text = strings.ToValidUTF8(text, "")
	if len(text) <= limits.DoctorMessageBytes {
		return text
	}
	return strings.ToValidUTF8(text[:limits.DoctorMessageBytes], "") + "…"
}

// LastError returns the cause and the next step of the error with which our program ended: the last line of its log,
// which the kubelet writes into the status. Both are empty if there is none.
func LastError(log string) (cause, next string) {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	for _, program := range []string{"controller: ", "envinjector: "} {
		if text, ok := strings.CutPrefix(lines[len(lines)-1], program); ok {
			cause, next, _ = strings.Cut(ShortMessage(text), "; ")
			return cause, next
		}
	}
	return "", ""
}

// LimitFindings keeps limits.DoctorFindings findings, the last of which counts the others.
func LimitFindings(all []doctor.Finding) []doctor.Finding {
	if len(all) <= limits.DoctorFindings {
		return all
	}
	kept := all[:limits.DoctorFindings-1]
	rest := all[limits.DoctorFindings-1:]
	return append(kept, doctor.Finding{Severity: doctor.Worst(rest),
		What: fmt.Sprintf("%d more findings of this kind", len(rest)), Try: "correct the ones above, and run it again"})
}
