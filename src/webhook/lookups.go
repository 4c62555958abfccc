package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/webhook/ociimage"
)

// concurrencyPerPod is the maximum of concurrent API server and registry requests for one pod.
const concurrencyPerPod = 8

// precautionTimeout is the timeout for the image of a container without a known reference. Most of these containers do
// not use Key Vault.
const precautionTimeout = 2 * time.Second

// deadlineMargin is the time between our deadline and the timeout of the API server.
const deadlineMargin = 2 * time.Second

// withReviewDeadline limits the context of a review to the time that the API server waits for the answer. The API
// server passes this time in the URL, as the query parameter timeout. A context without a valid timeout gets no
// deadline.
func withReviewDeadline(ctx context.Context, r *http.Request) (context.Context, context.CancelFunc) {
	wait, err := time.ParseDuration(r.URL.Query().Get("timeout"))
	if seconds, number := strconv.Atoi(r.URL.Query().Get("timeout")); number == nil {
		wait, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || wait <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, max(wait-deadlineMargin, wait/2))
}

// forEachConcurrently calls do for every element, several at a time. It returns the first error, which cancels the
// context of the other calls.
func forEachConcurrently[E any](ctx context.Context, elements []E, do func(context.Context, E) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrencyPerPod)
	for _, element := range elements {
		group.Go(func() error { return do(ctx, element) })
	}
	return group.Wait()
}

// sourceKey identifies a ConfigMap or Secret by namespace, kind and name.
type sourceKey struct {
	namespace string
	inject.SourceName
}

// readSources reads the ConfigMaps and Secrets that the pod's environment uses. It keeps their references and drops all
// other values.
func (a *podAdmission) readSources(ctx context.Context) (inject.Sources, error) {
	needed := inject.NeededSources(a.pod)
	if len(needed) > limits.AdmissionSources {
		return nil, fault.New(fault.Invalid,
			"the environment of the pod uses %d ConfigMaps and Secrets, and the limit is %d; merge some of them",
			len(needed), limits.AdmissionSources)
	}
	for _, name := range needed {
		if len(validation.IsDNS1123Subdomain(name.Name)) > 0 {
			return nil, fault.New(fault.Invalid,
				"%q is not a valid name of a %s; correct it in env or envFrom of the pod",
				inject.PrintableName(name.Name),
				name.Kind)
		}
	}
	sources := inject.Sources{}
	var mu sync.Mutex
	err := forEachConcurrently(ctx, needed, func(ctx context.Context, name inject.SourceName) error {
		source, err := a.readSource(ctx, name)
		mu.Lock()
		defer mu.Unlock()
		sources[name] = source
		return err
	})
	return sources, err
}

// readSource reads one ConfigMap or Secret. It remembers for a short time that a source is missing.
func (a *podAdmission) readSource(ctx context.Context, name inject.SourceName) (inject.Source, error) {
	key := types.NamespacedName{Namespace: a.request.Namespace, Name: name.Name}
	memory := sourceKey{a.request.Namespace, name}
	if gone, known := a.missingSourceCache.get(memory); known && gone {
		return inject.Source{Missing: true}, nil
	}
	if !a.trusted && !a.untrustedReadRate.Allow(a.request.Namespace) {
		return inject.Source{}, &fault.Error{Kind: fault.Throttled, RetryAfter: time.Second, Next: "try again",
			Operation: fmt.Sprintf("reviews for namespace %q read too many ConfigMaps and Secrets (its share of %s)",
				a.request.Namespace, limits.Rate(limits.UntrustedSourceReadsPerSecond))}
	}
	var err error
	var source inject.Source
	if name.Kind == inject.KindConfigMap {
		var object corev1.ConfigMap
		err = a.APIReader.Get(ctx, key, &object)
		source = inject.NewSource(object.Data)
	} else {
		var object corev1.Secret
		err = a.APIReader.Get(ctx, key, &object)
		source = inject.NewSource(object.Data)
	}
	switch {
	case err == nil:
		return source, nil
	case apierrors.IsNotFound(err):
		a.missingSourceCache.put(memory, true, limits.MissingSourceAge)
		return inject.Source{Missing: true}, nil
	case apierrors.IsForbidden(err): // the installation is configured without access to this source
		return inject.Source{Forbidden: true}, nil
	}
	return inject.Source{}, &fault.Error{Kind: fault.Unavailable, Cause: err,
		Operation: fmt.Sprintf("reading %s %q from the API server", name.Kind, name.Name), Next: "try again"}
}

// lookUpImageCommands reads the commands of the images that the plan needs from their registries. If this fails for a
// container without a known reference, the container stays unchanged and the pod gets a warning.
func (a *podAdmission) lookUpImageCommands(ctx context.Context, plan inject.Plan) (inject.Plan, error) {
	var wanted []*inject.Target
	for i := range plan.Targets {
		if plan.Targets[i].LookupImage != "" {
			wanted = append(wanted, &plan.Targets[i])
		}
	}
	if len(wanted) == 0 {
		return plan, nil
	}
	wanted, failed, err := limitRegistries(wanted)
	if err != nil {
		return plan, err
	}
	question := ociimage.Query{Namespace: a.request.Namespace, Untrusted: !a.trusted,
		PullSecrets: a.readPullSecrets(ctx), OS: "linux", Architecture: requiredArchitecture(&a.pod.Spec)}
	var mu sync.Mutex
	err = forEachConcurrently(ctx, wanted, func(ctx context.Context, t *inject.Target) error {
		err := a.lookUpImageCommand(ctx, t, question)
		if err == nil || !t.Precaution {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		failed[t.Container] = err
		return nil
	})
	for container, failure := range failed {
		plan = plan.WithoutContainer(container,
			fmt.Sprintf("container %q is not injected: a ConfigMap or Secret of its environment is missing, and the "+
				"command of its image could not be read (%v); references that are added later stay text", container,
				failure))
	}
	return plan, err
}

// limitRegistries applies the limit of registries for one pod before the first registry is contacted. Targets without a
// known reference come last. Beyond the limit they fail, with an error by container, and the pod is not rejected.
func limitRegistries(wanted []*inject.Target) (within []*inject.Target, failed map[string]error, err error) {
	registries := map[string]bool{}
	failed = map[string]error{}
	for _, precaution := range []bool{false, true} {
		for _, t := range wanted {
			if t.Precaution != precaution {
				continue
			}
			registry := ociimage.RegistryOf(t.LookupImage)
			if !registries[registry] && len(registries) == limits.ImageRegistriesPerPod {
				refused := &fault.Error{Kind: fault.Invalid,
					Operation: fmt.Sprintf("container %q", inject.PrintableName(t.Container)),
					Cause: fmt.Errorf("the pod needs the commands of images from more than %d registries, and "+
						"registry %s is beyond this limit", limits.ImageRegistriesPerPod, registry),
					Next: "set the container's command, or write it into the pod's annotation akv2k8s.io/commands"}
				if !precaution {
					return nil, nil, refused
				}
				failed[t.Container] = refused
				continue
			}
			registries[registry] = true
			within = append(within, t)
		}
	}
	return within, failed, nil
}

// lookUpImageCommand reads the command and the references of the target's image.
func (a *podAdmission) lookUpImageCommand(ctx context.Context, t *inject.Target, q ociimage.Query) error {
	if t.Precaution {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, precautionTimeout)
		defer cancel()
	}
	q.Image = t.LookupImage
	command, err := a.Images.ReadCommand(ctx, q)
	if err == nil && len(command.Entrypoint)+len(command.Cmd) == 0 {
		err = fault.New(fault.Invalid, "image %q has no command", inject.PrintableName(t.LookupImage))
	}
	switch {
	case err != nil && t.Precaution:
		return err
	case err != nil:
		return a.unknownCommandError(t, err)
	}
	t.Entrypoint, t.Cmd = command.Entrypoint, command.Cmd
	return t.AddImageReferences(command.References)
}

// unknownCommandError is the error for a container whose command could not be read, with the possible next steps. It
// counts the failure.
func (a *podAdmission) unknownCommandError(t *inject.Target, err error) error {
	a.Metrics.failedImageLookups.Inc()
	return &fault.Error{Kind: fault.KindOf(err),
		Operation: fmt.Sprintf("container %q", inject.PrintableName(t.Container)),
		Cause:     err,
		Next: "set the container's command, write it into the pod's annotation akv2k8s.io/commands, or give the " +
			"env-injector access to the image by imagePullSecrets or by the role AcrPull for its identity"}
}

// readPullSecrets reads the pull secrets of the pod. The API server has already added those of the ServiceAccount to
// the pod. A pull secret that cannot be read is skipped, as by the kubelet.
func (a *podAdmission) readPullSecrets(ctx context.Context) []ociimage.PullSecret {
	var secrets []ociimage.PullSecret
	var skipped []string
	for i, reference := range a.pod.Spec.ImagePullSecrets {
		if i >= limits.ImagePullSecrets || ctx.Err() != nil {
			skipped = append(skipped, fmt.Sprintf("%d more", len(a.pod.Spec.ImagePullSecrets)-i))
			break
		}
		var secret corev1.Secret
		err := errors.New("the name is not valid")
		if len(validation.IsDNS1123Subdomain(reference.Name)) == 0 {
			err = a.APIReader.Get(ctx, client.ObjectKey{Namespace: a.request.Namespace, Name: reference.Name}, &secret)
		}
		if err != nil {
			skipped = append(skipped, inject.PrintableName(reference.Name))
			continue
		}
		secrets = append(secrets, ociimage.ParsePullSecret(ctx, secret))
	}
	if len(skipped) > 0 {
		a.loggerFor(a.trusted).Info("skipping pull secrets that can't be read", logkey.Namespace, a.request.Namespace,
			logkey.Pod, printablePodName(a.pod), logkey.Secrets, skipped)
	}
	return secrets
}

// requiredArchitecture is the architecture that the pod's node selector or node affinity requires, or empty.
func requiredArchitecture(spec *corev1.PodSpec) string {
	architecture := spec.NodeSelector[corev1.LabelArchStable]
	if architecture != "" || spec.Affinity == nil || spec.Affinity.NodeAffinity == nil ||
		spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return architecture
	}
	// Terms are alternatives: an architecture is required only if all terms agree.
	for i, term := range spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		wanted := architectureOfTerm(term)
		if i > 0 && wanted != architecture {
			return ""
		}
		architecture = wanted
	}
	return architecture
}

// architectureOfTerm is the one architecture that a term allows, or empty.
func architectureOfTerm(term corev1.NodeSelectorTerm) string {
	for _, e := range term.MatchExpressions {
		if e.Key == corev1.LabelArchStable && e.Operator == corev1.NodeSelectorOpIn && len(e.Values) == 1 {
			return e.Values[0]
		}
	}
	return ""
}
