package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/webhook/ociimage"
)

// Path is where the API server finds the webhook.
const Path = "/pods"

// Images finds out what an image runs. Errors are classified by package fault and say what to do.
type Images interface {
	Command(ctx context.Context, q ociimage.Question) (ociimage.Command, error)
}

// Config is what a Webhook works with; every field is required.
type Config struct {
	// Settings gives what is put into pods at this moment; an error means that nothing can be injected yet.
	Settings func(ctx context.Context) (inject.Settings, error)
	// Live reads ConfigMaps and Secrets by name.
	Live client.Reader
	// Images finds out what an image runs.
	Images Images
	// Patience is how long looking into images may take.
	Patience time.Duration
	Metrics  *Metrics
	Log      logr.Logger
}

// Webhook is an admission.Handler.
type Webhook struct{ Config }

// New checks the configuration.
func New(c Config) (*Webhook, error) {
	if c.Settings == nil || c.Metrics == nil || c.Live == nil || c.Images == nil || c.Patience <= 0 {
		return nil, errors.New("creating the webhook: a part of its configuration is missing")
	}
	return &Webhook{Config: c}, nil
}

// admitted is a pod under admission.
type admitted struct {
	*Webhook
	request admission.Request
	// pod is the new one, old the same before; the latter only if ephemeral containers are added.
	pod, old *corev1.Pod
	// written is the namespace as it stands in the new pod.
	written string
}

// Handle answers one review. Nothing but the pod in the request, and what it names in its namespace, decides, whoever sent it, and nothing
// secret is in the answer.
func (w *Webhook) Handle(ctx context.Context, request admission.Request) admission.Response {
	a, err := w.read(request)
	if err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if a == nil {
		return admission.Allowed("")
	}
	w.Metrics.inspected(a.pod)
	ctx, cancel := context.WithTimeout(ctx, min(w.Patience, remaining(ctx)))
	defer cancel()
	settings, notReady := w.Settings(ctx)
	plan, err := a.plan(ctx, settings.Direct)
	if err != nil {
		return a.refuse(err)
	}
	if plan.Empty() {
		return admission.Allowed("").WithWarnings(plan.Warnings...)
	}
	if notReady != nil {
		w.Metrics.failed.Inc()
		w.Log.Error(notReady, "cannot inject yet", "namespace", request.Namespace, "pod", nameOf(a.pod))
		return admission.Errored(http.StatusServiceUnavailable, errors.New("akv2k8s: the env-injector is not ready; try again, and see its log"))
	}
	return a.patch(plan, settings)
}

// read takes the pod out of the request; there is none if the request is about something else.
func (w *Webhook) read(request admission.Request) (*admitted, error) {
	if request.Kind.Kind != "Pod" || (request.SubResource != "" && request.SubResource != "ephemeralcontainers") {
		return nil, nil
	}
	a := &admitted{Webhook: w, request: request, pod: &corev1.Pod{}}
	if json.Unmarshal(request.Object.Raw, a.pod) != nil {
		return nil, errors.New("the object is no pod")
	}
	// What is decided may need the namespace; what is answered leaves it as it was.
	a.written, a.pod.Namespace = a.pod.Namespace, request.Namespace
	if request.SubResource != "" {
		a.old = &corev1.Pod{}
		if json.Unmarshal(request.OldObject.Raw, a.old) != nil {
			return nil, errors.New("the old object is no pod")
		}
	}
	return a, nil
}

// plan gathers what deciding needs, and decides.
func (a *admitted) plan(ctx context.Context, direct bool) (inject.Plan, error) {
	sources, err := a.sources(ctx)
	if err != nil {
		return inject.Plan{}, err
	}
	var plan inject.Plan
	if a.old != nil {
		plan, err = inject.DecideEphemeral(a.old, a.pod, sources, direct)
	} else {
		plan, err = inject.Decide(a.pod, sources)
	}
	if err != nil {
		return inject.Plan{}, err
	}
	return a.commands(ctx, plan)
}

func (a *admitted) patch(plan inject.Plan, settings inject.Settings) admission.Response {
	var names []string
	for _, target := range plan.Targets {
		names = append(names, target.Container)
	}
	mutate := inject.Mutate
	if a.old != nil {
		mutate = inject.MutateEphemeral
	}
	out := mutate(a.pod, plan, settings)
	warnings, err := inject.Fits(out)
	if err != nil {
		return a.refuse(err)
	}
	out.Namespace = a.written
	content, err := json.Marshal(out)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, errors.New("akv2k8s: the pod could not be written"))
	}
	a.Metrics.mutated.Inc()
	a.Log.Info("injected", "namespace", a.request.Namespace, "pod", nameOf(a.pod), "containers", names, "dryRun", a.request.DryRun != nil && *a.request.DryRun)
	return admission.PatchResponseFromRaw(a.request.Object.Raw, content).WithWarnings(append(warnings, plan.Warnings...)...)
}

// refuse tells whoever creates the pod why it can't be.
func (a *admitted) refuse(err error) admission.Response {
	a.Metrics.failed.Inc()
	a.Log.Info("refused", "namespace", a.request.Namespace, "pod", nameOf(a.pod), "reason", fault.KindOf(err).Reason(), "error", err.Error())
	return admission.Denied("akv2k8s: " + err.Error())
}

// remaining is the time until the context's end; long if it has none.
func remaining(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return time.Hour
}

// nameOf is the pod's name, or what it will begin with.
func nameOf(pod *corev1.Pod) string {
	if pod.Name == "" {
		return pod.GenerateName + "…"
	}
	return pod.Name
}
