package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
)

// Path is where the API server finds the webhook.
const Path = "/pods"

// Config is what a Webhook works with; every field is required.
type Config struct {
	// Settings gives what is put into pods at this moment; an error means that nothing can be injected yet.
	Settings func(ctx context.Context) (inject.Settings, error)
	Metrics  *Metrics
	Log      logr.Logger
}

// Webhook is an admission.Handler.
type Webhook struct{ Config }

// New checks the configuration.
func New(c Config) (*Webhook, error) {
	if c.Settings == nil || c.Metrics == nil {
		return nil, errors.New("creating the webhook: a part of its configuration is missing")
	}
	return &Webhook{Config: c}, nil
}

// Handle answers one review. Nothing but the pod in the request decides, whoever sent it, and nothing secret is in the answer.
func (w *Webhook) Handle(ctx context.Context, request admission.Request) admission.Response {
	if request.SubResource != "" || request.Kind.Kind != "Pod" {
		return admission.Allowed("")
	}
	var pod corev1.Pod
	if json.Unmarshal(request.Object.Raw, &pod) != nil {
		return admission.Errored(http.StatusBadRequest, errors.New("the object is no pod"))
	}
	w.Metrics.inspected(&pod)
	plan, err := inject.Decide(&pod)
	if err != nil {
		w.Metrics.failed.Inc()
		w.Log.Info("refused", "namespace", request.Namespace, "pod", nameOf(&pod), "error", err.Error())
		return admission.Denied("akv2k8s: " + err.Error())
	}
	if plan.Empty() {
		return admission.Allowed("").WithWarnings(plan.Warnings...)
	}
	settings, err := w.Settings(ctx)
	if err != nil {
		w.Metrics.failed.Inc()
		w.Log.Error(err, "cannot inject yet", "namespace", request.Namespace, "pod", nameOf(&pod))
		return admission.Errored(http.StatusServiceUnavailable, errors.New("akv2k8s: the env-injector is not ready; try again, and see its log"))
	}
	content, err := json.Marshal(inject.Mutate(&pod, plan, settings))
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, errors.New("akv2k8s: the pod could not be written"))
	}
	w.Metrics.mutated.Inc()
	w.Log.Info("injected", "namespace", request.Namespace, "pod", nameOf(&pod), "containers", plan.Containers, "dryRun", request.DryRun != nil && *request.DryRun)
	return admission.PatchResponseFromRaw(request.Object.Raw, content).WithWarnings(plan.Warnings...)
}

// nameOf is the pod's name, or what it will begin with.
func nameOf(pod *corev1.Pod) string {
	if pod.Name == "" {
		return pod.GenerateName + "…"
	}
	return pod.Name
}
