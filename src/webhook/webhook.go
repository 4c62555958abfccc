package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/akv2k8s/akv2k8s/src/fairshare"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
	"github.com/akv2k8s/akv2k8s/src/webhook/delivery"
	"github.com/akv2k8s/akv2k8s/src/webhook/filescontainer"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/webhook/ociimage"
)

// Path is the URL path of the webhook.
const Path = "/pods"

// ImageInspector reads the configuration of container images.
type ImageInspector interface {
	// ReadCommand returns the entrypoint, the command and the references of an image. Errors have a fault.Kind and the
	// next step.
	ReadCommand(ctx context.Context, q ociimage.Query) (ociimage.Command, error)
}

// DeliveryChooser decides how the injector gets into a pod.
type DeliveryChooser interface {
	// Choose returns the decision for a pod, or an error of kind fault.Invalid that rejects it.
	Choose(ctx context.Context, pod *corev1.Pod, dryRun bool) (delivery.Decision, error)
}

// Config has the dependencies and settings of a Webhook. Every field is required.
type Config struct {
	// Settings returns the current settings for injected pods. An error means that the env-injector is not ready.
	Settings func(ctx context.Context) (inject.Settings, error)
	// APIReader reads namespaces, ConfigMaps, Secrets and LimitRanges from the API server, without a cache.
	APIReader client.Reader
	// NamespaceLabel is the key of the label of the namespaces whose pods are injected. The webhook reads nothing in
	// other namespaces.
	NamespaceLabel string
	// NamespaceLabelValue is the value of that label.
	NamespaceLabelValue string
	// Delivery decides how the injector gets into a pod.
	Delivery DeliveryChooser
	// Images reads the commands of images from their registries.
	Images ImageInspector
	// ReviewTimeout is the timeout of one review, including the requests to registries.
	ReviewTimeout time.Duration
	Clock         func() time.Time
	Metrics       *Metrics
	Log           logr.Logger
}

// Webhook implements admission.Handler. It is safe for concurrent use.
type Webhook struct {
	Config
	trustedLogger, untrustedLogger *rateLimitedLogger
	namespaceCache                 *ttlCache[string, bool]
	missingSourceCache             *ttlCache[sourceKey, bool]
	limitRangeCache                *ttlCache[string, []corev1.LimitRangeItem]
	// untrustedReadRate limits the reads of sources for reviews that anyone can have sent, by namespace.
	untrustedReadRate *fairshare.RateLimiter
}

// New returns a Webhook, or an error if a field of the configuration is not set.
func New(c Config) (*Webhook, error) {
	if err := fault.RequireFields("webhook.New", map[string]bool{
		"Settings": c.Settings != nil, "Metrics": c.Metrics != nil, "APIReader": c.APIReader != nil,
		"Images": c.Images != nil, "Clock": c.Clock != nil, "ReviewTimeout": c.ReviewTimeout > 0,
		"NamespaceLabel": c.NamespaceLabel != "", "Delivery": c.Delivery != nil,
	}); err != nil {
		return nil, err
	}
	return &Webhook{Config: c, trustedLogger: newRateLimitedLogger(c.Log), untrustedLogger: newRateLimitedLogger(c.Log),
		namespaceCache: newTTLCache[string, bool](c.Clock), missingSourceCache: newTTLCache[sourceKey, bool](c.Clock),
		limitRangeCache:   newTTLCache[string, []corev1.LimitRangeItem](c.Clock),
		untrustedReadRate: fairshare.NewRateLimiter(limits.UntrustedSourceReadsPerSecond, time.Second, c.Clock)}, nil
}

// podAdmission is the admission of one pod.
type podAdmission struct {
	*Webhook
	request admission.Request
	// pod is the pod in the request.
	pod *corev1.Pod
	// oldPod is the pod before the request; it is nil unless the request adds ephemeral containers.
	oldPod *corev1.Pod
	// trusted says that a known API server sent the review.
	trusted bool
	// delivery is how the injector gets into the pod. It does not apply to ephemeral containers.
	delivery delivery.Decision
	// files are the files that the pod requests; empty if the request adds ephemeral containers.
	files filescontainer.Plan
}

// Handle answers one review. The answer depends on the pod in the request, the objects that it names in its namespace
// and the settings, and not on the sender. It never holds a secret value.
func (w *Webhook) Handle(ctx context.Context, request admission.Request) admission.Response {
	a, err := w.decodeRequest(request)
	if err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if a == nil {
		return admission.Allowed("")
	}
	a.trusted = isTrusted(ctx)
	w.Metrics.countInspection(a.pod)
	ctx, cancel := context.WithTimeout(ctx, min(w.ReviewTimeout, timeRemaining(ctx)))
	defer cancel()
	if err := a.requireInjectionEnabled(ctx); err != nil {
		return a.rejectPod(err)
	}
	settings, notReady := w.Settings(ctx)
	plan, err := a.planInjection(ctx, settings.Direct)
	if err == nil && a.oldPod == nil {
		a.files, err = filescontainer.Decide(a.pod, settings.Direct)
		plan.Warnings = append(plan.Warnings, a.files.Warnings...)
	}
	if err != nil {
		return a.rejectPod(err)
	}
	if plan.IsEmpty() && a.files.IsEmpty() {
		return admission.Allowed("").WithWarnings(limitWarnings(plan.Warnings)...)
	}
	if notReady != nil {
		w.Metrics.failedMutations.Inc()
		w.loggerFor(a.trusted).Info("cannot inject yet", logkey.Namespace, request.Namespace, logkey.Pod,
			printablePodName(a.pod), logkey.Error, notReady.Error())
		return admission.Errored(http.StatusServiceUnavailable,
			errors.New("akv2k8s: the env-injector is not ready; try again, and see its log"))
	}
	if err := a.chooseDelivery(ctx, plan, &settings); err != nil {
		return a.rejectPod(err)
	}
	return a.patchPod(plan, settings)
}

// chooseDelivery decides how the injector gets into a new pod, and reads the LimitRanges if the pod gets a container of
// ours.
func (a *podAdmission) chooseDelivery(ctx context.Context, plan inject.Plan, settings *inject.Settings) (err error) {
	if a.oldPod != nil {
		return nil
	}
	if !plan.IsEmpty() {
		if a.delivery, err = a.Delivery.Choose(ctx, a.pod, a.isDryRun()); err != nil {
			return err
		}
		settings.ImageVolume = a.delivery.Mode == delivery.ModeImage
	}
	if !settings.ImageVolume || !a.files.IsEmpty() {
		settings.LimitRanges = a.readLimitRanges(ctx)
	}
	return nil
}

// decodeRequest decodes the pod in the request. It returns nil if the request is about another kind or subresource.
func (w *Webhook) decodeRequest(request admission.Request) (*podAdmission, error) {
	if request.Kind.Kind != "Pod" || (request.SubResource != "" && request.SubResource != "ephemeralcontainers") {
		return nil, nil
	}
	if len(validation.IsDNS1123Label(request.Namespace)) > 0 {
		return nil, errors.New("the request does not name a namespace")
	}
	a := &podAdmission{Webhook: w, request: request, pod: &corev1.Pod{}}
	if utiljson.Unmarshal(request.Object.Raw, a.pod) != nil {
		return nil, errors.New("the object is not a pod")
	}
	a.pod.Namespace = request.Namespace
	if request.SubResource == "" {
		inject.RestoreReferences(a.pod)
		filescontainer.Remove(a.pod)
	} else {
		a.oldPod = &corev1.Pod{}
		if utiljson.Unmarshal(request.OldObject.Raw, a.oldPod) != nil {
			return nil, errors.New("the old object is not a pod")
		}
	}
	return a, nil
}

// planInjection reads the sources, decides, and reads the commands of the images that the decision needs.
func (a *podAdmission) planInjection(ctx context.Context, direct bool) (inject.Plan, error) {
	sources, err := a.readSources(ctx)
	if err != nil {
		return inject.Plan{}, err
	}
	var plan inject.Plan
	if a.oldPod != nil {
		plan, err = inject.DecideEphemeral(a.oldPod, a.pod, sources, direct)
	} else {
		plan, err = inject.Decide(a.pod, sources)
	}
	if err == nil && a.oldPod == nil {
		err = plan.CheckEnvFile(a.pod, direct)
	}
	if err != nil {
		return inject.Plan{}, err
	}
	return a.lookUpImageCommands(ctx, plan)
}

// patchPod is the answer with the JSON patch that the plan requires.
func (a *podAdmission) patchPod(plan inject.Plan, settings inject.Settings) admission.Response {
	mutate := inject.Mutate
	if a.oldPod != nil {
		mutate = inject.MutateEphemeral
	}
	out := filescontainer.Add(mutate(a.pod, plan, settings), a.files, settings)
	warnings, err := inject.CheckSize(out)
	if err != nil {
		return a.rejectPod(err)
	}
	response, err := specPatch(a.request.Object.Raw, &out.Spec)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, errors.New("akv2k8s: the pod could not be encoded"))
	}
	if len(response.Patches) > 0 { // the API server calls us again if another webhook changed the pod after us
		a.recordInjection(plan)
	}
	if a.delivery.Reason == delivery.ReasonPolicy {
		warnings = append(warnings, deniedWarning)
	}
	if a.oldPod == nil && !settings.InjectsProbes(a.pod) {
		warnings = append(warnings, plan.ProbeWarnings(a.pod)...)
	}
	return response.WithWarnings(limitWarnings(append(warnings, plan.Warnings...))...)
}

// specPatch is the response that changes the spec of a pod. It compares the spec alone: the rest does not change, and
// decoding it into maps would take more memory than its text.
func specPatch(pod []byte, spec *corev1.PodSpec) (admission.Response, error) {
	var before struct {
		Spec json.RawMessage `json:"spec"`
	}
	if err := utiljson.Unmarshal(pod, &before); err != nil {
		return admission.Response{}, err
	}
	after, err := json.Marshal(spec)
	if err != nil {
		return admission.Response{}, err
	}
	response := admission.PatchResponseFromRaw(before.Spec, after)
	for i := range response.Patches {
		response.Patches[i].Path = "/spec" + response.Patches[i].Path
	}
	return response, nil
}

// deniedWarning is the warning for a pod in a namespace whose policy denies image volumes.
const deniedWarning = "the pod gets an init container, because pods with an image volume were not created in this " +
	"namespace: allow the volume type image in the policy that denies them, or set env_injector.delivery to init"

// isDryRun says whether the API server will not create the pod.
func (a *podAdmission) isDryRun() bool { return a.request.DryRun != nil && *a.request.DryRun }

// recordInjection counts and logs an injected pod.
func (a *podAdmission) recordInjection(plan inject.Plan) {
	var names []string
	for _, target := range plan.Targets[:min(len(plan.Targets), limits.AdmissionWarnings)] {
		names = append(names, inject.PrintableName(target.Container))
	}
	a.Metrics.mutatedPods.Inc()
	details := []any{logkey.Namespace, a.request.Namespace, logkey.Pod, printablePodName(a.pod),
		logkey.Containers, names, logkey.ContainerCount, len(plan.Targets),
		logkey.FilesContainerCount, len(a.files.Containers(a.pod)), logkey.DryRun, a.isDryRun()}
	if a.oldPod == nil && !plan.IsEmpty() {
		a.Metrics.countDelivery(a.delivery)
		details = append(details, logkey.Delivery, a.delivery.Mode, logkey.DeliveryReason, a.delivery.Reason,
			logkey.DeliveryVersion, a.delivery.Version, logkey.Node, a.delivery.Node)
	}
	a.loggerFor(a.trusted).Info("injected", details...)
}

// rejectPod counts and logs a rejected pod, and returns the answer with the reason. The API server shows it to the
// user.
func (a *podAdmission) rejectPod(err error) admission.Response {
	a.Metrics.failedMutations.Inc()
	message := err.Error()
	if len(message) > limits.AdmissionMessageBytes {
		message = strings.ToValidUTF8(message[:limits.AdmissionMessageBytes], "") + "…"
	}
	a.loggerFor(a.trusted).Info("rejected", logkey.Namespace, a.request.Namespace, logkey.Pod, printablePodName(a.pod),
		logkey.Reason, fault.KindOf(err).Reason(), logkey.Error, message)
	return admission.Denied("akv2k8s: " + message)
}

// limitWarnings limits the number of warnings in an answer, and adds one with the number of omitted warnings.
func limitWarnings(warnings []string) []string {
	if more := len(warnings) - limits.AdmissionWarnings; more > 0 {
		return append(slices.Clone(warnings[:limits.AdmissionWarnings]), fmt.Sprintf("and %d more warnings", more))
	}
	return warnings
}

// timeRemaining is the time until the deadline of the context, or an hour if it has no deadline.
func timeRemaining(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return time.Hour
}

// printablePodName is the pod's name for messages, or its generateName if the API server has yet to choose the name.
func printablePodName(pod *corev1.Pod) string {
	if pod.Name == "" {
		return inject.PrintableName(pod.GenerateName) + "…"
	}
	return inject.PrintableName(pod.Name)
}
