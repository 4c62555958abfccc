//go:build cluster

package quiz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// unreachable begins the names of images of a registry that refuses connections.
const unreachable = "127.0.0.1:1/"

// Names of objects of the installation.
const (
	controller  = system + "-controller"
	envInjector = system + "-envinjector"
)

// wholeCluster is the command line without a namespace.
func wholeCluster() [][]string { return [][]string{{"doctor"}} }

// object is an object with a name, of a type that the chart or a test has.
func object(kind schema.GroupVersionKind, namespace, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

var (
	deploymentKind = appsv1.SchemeGroupVersion.WithKind("Deployment")
	serviceKind    = corev1.SchemeGroupVersion.WithKind("Service")
	accountKind    = corev1.SchemeGroupVersion.WithKind("ServiceAccount")
	webhookKind    = admissionv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration")
	bindingKind    = rbacv1.SchemeGroupVersion.WithKind("ClusterRoleBinding")
	definitionKind = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}
)

// changed plants a fault by a merge patch of an object, and undoes it with another one.
func (q *quiz) changed(f fault, target *unstructured.Unstructured, patch, back map[string]any) fault {
	f.plant = func(ctx context.Context) error { return q.patch(ctx, target.DeepCopy(), patch) }
	f.undo = func(ctx context.Context) error { return q.patch(ctx, target.DeepCopy(), back) }
	return f
}

// removed plants a fault by deleting an object, and undoes it by creating the object again.
func (q *quiz) removed(f fault, target *unstructured.Unstructured) fault {
	saved := target.DeepCopy()
	f.plant = func(ctx context.Context) error {
		if err := q.stage.Client.Get(ctx, client.ObjectKeyFromObject(saved), saved); err != nil {
			return err
		}
		return q.stage.Client.Delete(ctx, saved.DeepCopy())
	}
	f.undo = func(ctx context.Context) error {
		again := saved.DeepCopy()
		again.SetResourceVersion("")
		again.SetUID("")
		unstructured.RemoveNestedField(again.Object, "spec", "clusterIP")
		unstructured.RemoveNestedField(again.Object, "spec", "clusterIPs")
		return q.stage.Client.Create(ctx, again)
	}
	return f
}

// added plants a fault by applying a manifest of one object into a namespace.
func (q *quiz) added(f fault, namespace, manifest string, kind schema.GroupVersionKind, name string) fault {
	f.plant = func(ctx context.Context) error { return q.stage.Apply(ctx, namespace, manifest) }
	f.undo = func(ctx context.Context) error {
		return client.IgnoreNotFound(q.stage.Client.Delete(ctx, object(kind, namespace, name)))
	}
	return f
}

// then adds a wait to the planting of a fault.
func (f fault) then(wait func(context.Context) error) fault {
	plant := f.plant
	f.plant = func(ctx context.Context) error {
		if err := plant(ctx); err != nil {
			return err
		}
		return wait(ctx)
	}
	return f
}

// replicas waits until a Deployment has a number of ready pods.
func (q *quiz) replicas(name string, ready int32) func(context.Context) error {
	return func(ctx context.Context) error {
		return stage.Await(ctx, patience, fmt.Sprintf("%d ready pods of %s", ready, name), func(ctx context.Context) error {
			var d appsv1.Deployment
			if err := q.stage.Client.Get(ctx, client.ObjectKey{Namespace: system, Name: name}, &d); err != nil {
				return err
			}
			if d.Status.ReadyReplicas != ready || d.Status.ObservedGeneration != d.Generation {
				return fmt.Errorf("it has %d", d.Status.ReadyReplicas)
			}
			return nil
		})
	}
}

// waiting waits until a pod of a component is not ready for a reason, such as ErrImagePull, or has ended before.
func (q *quiz) waiting(component string, isRight func(corev1.Pod) bool) func(context.Context) error {
	return func(ctx context.Context) error {
		return stage.Await(ctx, patience, "a pod of "+component+" with the fault", func(ctx context.Context) error {
			var pods corev1.PodList
			if err := q.stage.Client.List(ctx, &pods, client.InNamespace(system)); err != nil {
				return err
			}
			for _, p := range pods.Items {
				if isRight(p) {
					return nil
				}
			}
			return errors.New("there is none")
		})
	}
}

func scaled(n int64) map[string]any { return map[string]any{"spec": map[string]any{"replicas": n}} }

func installationFaults(t *testing.T, q *quiz) []fault {
	t.Helper()
	h := home{q, "watched"}
	require.NoError(t, h.create(t.Context(), nil))
	t.Cleanup(func() { require.NoError(t, h.remove(context.WithoutCancel(t.Context()))) })
	all := q.deploymentFaults(h)
	all = append(all, q.serviceFaults()...)
	all = append(all, q.webhookFaults(h)...)
	all = append(all, q.rightFaults()...)
	return append(all, q.otherInstallations()...)
}

func (q *quiz) deploymentFaults(h home) []fault {
	of := func(name string) *unstructured.Unstructured { return object(deploymentKind, system, name) }
	return []fault{
		q.changed(fault{name: "the env-injector scaled to zero", says: []string{"deployment/" + envInjector, "it is scaled to zero"}, next: "kubectl -n akv2k8s scale deployment",
			commands: [][]string{{"doctor"}, {"doctor", "-n", "watched"}}}, of(envInjector), scaled(0), scaled(2)).then(q.replicas(envInjector, 0)),
		q.changed(fault{name: "the controller scaled to zero", says: []string{"deployment/" + controller, "it is scaled to zero"}, next: "kubectl -n akv2k8s scale deployment",
			commands: wholeCluster()}, of(controller), scaled(0), scaled(1)).then(q.replicas(controller, 0)),
		q.templated(fault{name: "an image of the controller that can't be pulled", says: []string{"deployment/" + controller, unreachable}, next: "global.imageRegistry", severity: "warning",
			commands: wholeCluster()}, controller, func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers[0].Image = unreachable + q.stage.ProductImage("controller")
			d.Spec.Template.Spec.Containers[0].ImagePullPolicy = corev1.PullAlways
		}).then(q.waiting(controller, isWaitingFor("ErrImagePull", "ImagePullBackOff"))),
		q.templated(fault{name: "a node selector that no node has", says: []string{"deployment/" + envInjector, "no node fits"}, next: "nodeSelector", severity: "warning",
			commands: wholeCluster()}, envInjector, func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.NodeSelector = map[string]string{"quiz": "nowhere"}
		}).then(q.waiting(envInjector, func(p corev1.Pod) bool {
			return p.Status.Phase == corev1.PodPending && p.Spec.NodeSelector["quiz"] != "" && len(p.Status.Conditions) > 0
		})),
		q.templated(fault{name: "a Secret of the environment that does not exist", says: []string{"deployment/" + controller, `secret "nope" not found`}, severity: "warning", next: "kubectl -n akv2k8s",
			commands: wholeCluster()}, controller, func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "nope"}}}}
		}).then(q.waiting(controller, isWaitingFor("CreateContainerConfigError"))),
		q.templated(fault{name: "an image of the injector that can't be pulled", says: []string{unreachable}, next: "image", commands: [][]string{{"doctor", "-n", h.name, "pod/app"}}}, envInjector,
			func(d *appsv1.Deployment) {
				args := d.Spec.Template.Spec.Containers[0].Args
				for i := range args {
					if strings.HasPrefix(args[i], "--env-image=") {
						args[i] = "--env-image=" + unreachable + q.stage.ProductImage("env")
					}
				}
			}).then(q.rolledOut(envInjector)).then(h.startWithImage(unreachable)).then(h.awaitPullError("app")),
		q.templated(fault{name: "images of two versions", says: []string{"different versions"}, next: "remove tags", also: []string{"deployment/" + envInjector},
			commands: wholeCluster()}, envInjector, func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers[0].Image += ".1"
		}),
		q.added(fault{name: "a quota without room for the pods of the installation", says: []string{"exceeded quota"}, next: "quota", severity: "warning", also: []string{"pods (", "deployment/"},
			commands: wholeCluster()}, system, "{apiVersion: v1, kind: ResourceQuota, metadata: {name: quiz}, spec: {hard: {pods: 1}}}",
			corev1.SchemeGroupVersion.WithKind("ResourceQuota"), "quiz").then(func(ctx context.Context) error {
			return q.restart(ctx, controller)
		}).then(q.failing(controller)),
	}
}

func isWaitingFor(reasons ...string) func(corev1.Pod) bool {
	return func(p corev1.Pod) bool {
		for _, status := range p.Status.ContainerStatuses {
			for _, reason := range reasons {
				if status.State.Waiting != nil && status.State.Waiting.Reason == reason {
					return true
				}
			}
		}
		return false
	}
}

// rolledOut waits until the rollout of a Deployment has finished.
func (q *quiz) rolledOut(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		return stage.Await(ctx, patience, "the rollout of "+name, func(ctx context.Context) error {
			var d appsv1.Deployment
			if err := q.stage.Client.Get(ctx, client.ObjectKey{Namespace: system, Name: name}, &d); err != nil {
				return err
			}
			if s := d.Status; s.ObservedGeneration != d.Generation || s.UpdatedReplicas != *d.Spec.Replicas || s.Replicas != s.UpdatedReplicas || s.AvailableReplicas != s.Replicas {
				return fmt.Errorf("its status is %+v", s)
			}
			return nil
		})
	}
}

// startWithImage starts pod app as soon as it would get the injector from a registry: a replica that ends can still be
// called.
func (h home) startWithImage(registry string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := stage.Await(ctx, patience, "the image of the injector", func(ctx context.Context) error {
			pod := h.pod("app", "DB=db@azurekeyvault")
			if err := h.stage.Client.Create(ctx, pod, client.DryRunAll); err != nil {
				return err
			}
			content, err := jsonOf(pod.Spec)
			if err == nil && !strings.Contains(string(content), registry) {
				err = errors.New("it is another one")
			}
			return err
		}); err != nil {
			return err
		}
		return h.start(ctx, h.pod("app", "DB=db@azurekeyvault"))
	}
}

// awaitPullError waits until an image of a pod can't be pulled.
func (h home) awaitPullError(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		return stage.Await(ctx, patience, "the error of pod "+name, func(ctx context.Context) error {
			var p corev1.Pod
			if err := h.stage.Client.Get(ctx, client.ObjectKey{Namespace: h.name, Name: name}, &p); err != nil {
				return err
			}
			p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, p.Status.InitContainerStatuses...)
			if !isWaitingFor("ErrImagePull", "ImagePullBackOff")(p) {
				return fmt.Errorf("it is %+v", p.Status.ContainerStatuses)
			}
			return nil
		})
	}
}

// failing waits until the pods of a Deployment can't be created.
func (q *quiz) failing(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		return stage.Await(ctx, patience, "the failure of "+name, func(ctx context.Context) error {
			var d appsv1.Deployment
			if err := q.stage.Client.Get(ctx, client.ObjectKey{Namespace: system, Name: name}, &d); err != nil {
				return err
			}
			for _, c := range d.Status.Conditions {
				if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
					return nil
				}
			}
			return errors.New("it has no failure")
		})
	}
}

// restart has the pods of a Deployment replaced.
func (q *quiz) restart(ctx context.Context, name string) error {
	return q.patch(ctx, object(deploymentKind, system, name), map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{"quiz/restarted": time.Now().Format(time.RFC3339Nano)}}}}})
}

// templated plants a fault by a change of a Deployment, and undoes it with the spec that it had.
func (q *quiz) templated(f fault, name string, change func(*appsv1.Deployment)) fault {
	before := &appsv1.Deployment{}
	key := client.ObjectKey{Namespace: system, Name: name}
	update := func(ctx context.Context, edit func(*appsv1.Deployment)) error {
		return stage.Await(ctx, patience, "the change of "+name, func(ctx context.Context) error {
			var d appsv1.Deployment
			if err := q.stage.Client.Get(ctx, key, &d); err != nil {
				return err
			}
			edit(&d)
			return q.stage.Client.Update(ctx, &d)
		})
	}
	f.plant = func(ctx context.Context) error {
		return update(ctx, func(d *appsv1.Deployment) {
			before = d.DeepCopy()
			change(d)
		})
	}
	f.undo = func(ctx context.Context) error {
		return update(ctx, func(d *appsv1.Deployment) { d.Spec = before.Spec })
	}
	return f
}

func (q *quiz) serviceFaults() []fault {
	service := object(serviceKind, system, envInjector)
	selector := func(value any) map[string]any {
		return map[string]any{"spec": map[string]any{"selector": map[string]any{"quiz": value}}}
	}
	return []fault{
		q.removed(fault{name: "the Service of the env-injector is gone", says: []string{"service/" + envInjector, "it does not exist"}, next: "helm upgrade", commands: wholeCluster()}, service),
		q.changed(fault{name: "a Service whose selector matches nothing", says: []string{"service/" + envInjector, "it has no endpoints"}, next: "kubectl -n akv2k8s", commands: wholeCluster()},
			service, selector("nothing"), selector(nil)).then(func(ctx context.Context) error { return q.awaitNoEndpoints(ctx) }),
		q.servicePort(fault{name: "a Service with another target port", says: []string{"service/" + envInjector, "port"}, next: "helm upgrade", commands: wholeCluster()}, func(port map[string]any) { port["targetPort"] = int64(9999) }),
		q.servicePort(fault{name: "a Service with another port", says: []string{"service/" + envInjector, "port"}, next: "helm upgrade", commands: wholeCluster()}, func(port map[string]any) { port["port"] = int64(8443) }),
	}
}

func (q *quiz) awaitNoEndpoints(ctx context.Context) error {
	return stage.Await(ctx, patience, "the end of the endpoints", func(ctx context.Context) error {
		slices, err := q.stage.Kube.DiscoveryV1().EndpointSlices(system).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + envInjector})
		if err != nil {
			return err
		}
		for _, slice := range slices.Items {
			if len(slice.Endpoints) > 0 {
				return errors.New("some are left")
			}
		}
		return nil
	})
}

// servicePort changes the port of the webhook in the Service.
func (q *quiz) servicePort(f fault, change func(map[string]any)) fault {
	saved := object(serviceKind, system, envInjector)
	f.plant = func(ctx context.Context) error {
		if err := q.stage.Client.Get(ctx, client.ObjectKeyFromObject(saved), saved); err != nil {
			return err
		}
		now := saved.DeepCopy()
		ports, _, err := unstructured.NestedSlice(now.Object, "spec", "ports")
		if err != nil {
			return err
		}
		for _, port := range ports {
			if port, ok := port.(map[string]any); ok && port["port"] == int64(443) {
				change(port)
			}
		}
		if err := unstructured.SetNestedSlice(now.Object, ports, "spec", "ports"); err != nil {
			return err
		}
		return q.stage.Client.Update(ctx, now)
	}
	f.undo = func(ctx context.Context) error {
		now := saved.DeepCopy()
		now.SetResourceVersion("")
		return q.stage.Client.Update(ctx, now)
	}
	return f.then(func(context.Context) error {
		time.Sleep(2 * time.Second) // until the service proxy has the port
		return nil
	})
}

func (q *quiz) webhookFaults(h home) []fault {
	webhook := object(webhookKind, "", envInjector)
	edited := func(f fault, change func(*admissionv1.MutatingWebhook)) fault {
		saved := &admissionv1.MutatingWebhookConfiguration{}
		key := client.ObjectKey{Name: envInjector}
		f.plant = func(ctx context.Context) error {
			if err := q.stage.Client.Get(ctx, key, saved); err != nil {
				return err
			}
			now := saved.DeepCopy()
			change(&now.Webhooks[0])
			return q.stage.Client.Update(ctx, now)
		}
		f.undo = func(ctx context.Context) error {
			var now admissionv1.MutatingWebhookConfiguration
			if err := q.stage.Client.Get(ctx, key, &now); err != nil {
				return err
			}
			now.Webhooks = saved.Webhooks
			return q.stage.Client.Update(ctx, &now)
		}
		return f
	}
	ignore := admissionv1.Ignore
	left := `{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: a-left}, webhooks: [{name: pods.env-injector.admission.spv.no,
		sideEffects: None, admissionReviewVersions: [v1], failurePolicy: Fail, clientConfig: {service: {namespace: gone, name: gone-envinjector, path: /pods}},
		namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ` + h.name + `}}, rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}]}`
	uncallable := `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: quiz}, webhooks: [{name: policy.quiz.example,
		sideEffects: None, admissionReviewVersions: [v1], failurePolicy: Fail, clientConfig: {service: {namespace: gone, name: policy}},
		namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ` + h.name + `}}, rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}]}`
	validating := admissionv1.SchemeGroupVersion.WithKind("ValidatingWebhookConfiguration")
	return []fault{
		q.removed(fault{name: "the webhook configuration is gone", says: []string{"mutatingwebhookconfiguration/" + envInjector, "it does not exist"}, next: "helm upgrade", commands: wholeCluster()}, webhook),
		edited(fault{name: "another namespaceSelector", says: []string{"its namespaceSelector is not the label"}, next: "helm upgrade", commands: wholeCluster()},
			func(w *admissionv1.MutatingWebhook) {
				w.NamespaceSelector.MatchLabels = map[string]string{"other": "label"}
			}),
		edited(fault{name: "failures are ignored", says: []string{"its failurePolicy is Ignore"}, next: "env_injector.failurePolicy", severity: "warning", commands: wholeCluster()},
			func(w *admissionv1.MutatingWebhook) { w.FailurePolicy = &ignore }),
		edited(fault{name: "a webhook for no pods", says: []string{"its rules don't include the creation of pods"}, next: "helm upgrade", commands: wholeCluster()},
			func(w *admissionv1.MutatingWebhook) { w.Rules[0].Resources = []string{"services"} }),
		edited(fault{name: "a webhook that calls another Service", says: []string{"it does not name the Service of the env-injector"}, next: "helm upgrade", commands: wholeCluster(),
			also: []string{"gone"}}, func(w *admissionv1.MutatingWebhook) { w.ClientConfig.Service.Name = "gone" }),
		q.added(fault{name: "a webhook that was left of another installation", says: []string{"mutatingwebhookconfiguration/a-left", "gone/gone-envinjector"}, next: "kubectl delete mutatingwebhookconfiguration a-left",
			commands: wholeCluster()}, "", left, webhookKind, "a-left"),
		q.added(fault{name: "another webhook that can't be called", says: []string{"namespace/" + h.name, "policy.quiz.example"}, next: "correct what the message names", severity: "warning", commands: wholeCluster()}, "", uncallable, validating, "quiz"),
		q.foreignBundle(),
	}
}

// foreignBundle plants another CA bundle, and takes the right from the env-injector to correct it.
func (q *quiz) foreignBundle() fault {
	binding := q.removed(fault{}, object(bindingKind, "", envInjector))
	saved := &admissionv1.MutatingWebhookConfiguration{}
	return fault{name: "the CA bundle of another, without the right to correct it", says: []string{"serviceaccount/" + envInjector, "it lacks"}, next: "global.rbac.create",
		also: []string{"does not verify", "does not accept the certificate"}, commands: wholeCluster(),
		plant: func(ctx context.Context) error {
			if err := binding.plant(ctx); err != nil {
				return err
			}
			if err := q.stage.Client.Get(ctx, client.ObjectKey{Name: envInjector}, saved); err != nil {
				return err
			}
			now := saved.DeepCopy()
			now.Webhooks[0].ClientConfig.CABundle = []byte(q.stage.Azure.CA)
			return q.stage.Client.Update(ctx, now)
		},
		undo: func(ctx context.Context) error {
			var now admissionv1.MutatingWebhookConfiguration
			if err := errors.Join(binding.undo(ctx), q.stage.Client.Get(ctx, client.ObjectKey{Name: envInjector}, &now)); err != nil {
				return err
			}
			now.Webhooks = saved.Webhooks
			return q.stage.Client.Update(ctx, &now)
		}}
}

func (q *quiz) rightFaults() []fault {
	definition := object(definitionKind, "", "azurekeyvaultsecrets.spv.no")
	schemaOf := func(value any) map[string]any {
		return map[string]any{"metadata": map[string]any{"annotations": map[string]any{"akv2k8s.io/schema": value}}}
	}
	account := q.removed(fault{name: "the ServiceAccount of the controller is gone", says: []string{"serviceaccount/" + controller, "it does not exist"}, next: "serviceAccount.create", commands: wholeCluster()},
		object(accountKind, system, controller))
	create := account.undo
	account.undo = func(ctx context.Context) error { // the token of the pod was for the old one
		return errors.Join(create(ctx), q.restart(ctx, controller))
	}
	return []fault{
		q.removed(fault{name: "the role of the controller is not bound", says: []string{"serviceaccount/" + controller, "it lacks"}, next: "global.rbac.create", commands: wholeCluster()}, object(bindingKind, "", controller+"-sync")),
		q.removed(fault{name: "the role of the env-injector is not bound", says: []string{"serviceaccount/" + envInjector, "it lacks"}, next: "global.rbac.create", commands: wholeCluster()}, object(bindingKind, "", envInjector)),
		account,
		q.removed(fault{name: "the CustomResourceDefinition is gone", says: []string{"the CustomResourceDefinition", "does not exist"}, next: "helm show crds", commands: wholeCluster()}, definition).
			then(q.awaitEnd(definition)),
		q.schema(fault{name: "the CustomResourceDefinition of 1.8", says: []string{"has schema 0"}, next: "crds.upgrade=true", commands: wholeCluster()}, definition, schemaOf),
	}
}

// awaitEnd waits until an object that is being deleted is gone.
func (q *quiz) awaitEnd(target *unstructured.Unstructured) func(context.Context) error {
	return func(ctx context.Context) error {
		return stage.Await(ctx, patience, "the end of "+target.GetName(), func(ctx context.Context) error {
			if err := q.stage.Client.Get(ctx, client.ObjectKeyFromObject(target), target.DeepCopy()); !apierrors.IsNotFound(err) {
				return fmt.Errorf("it still exists: %w", err)
			}
			return nil
		})
	}
}

// schema removes the schema from the CustomResourceDefinition.
func (q *quiz) schema(f fault, target *unstructured.Unstructured, patch func(any) map[string]any) fault {
	saved := target.DeepCopy()
	f.plant = func(ctx context.Context) error {
		if err := q.stage.Client.Get(ctx, client.ObjectKeyFromObject(target), saved); err != nil {
			return err
		}
		return q.patch(ctx, target.DeepCopy(), patch(nil))
	}
	f.undo = func(ctx context.Context) error {
		return q.patch(ctx, target.DeepCopy(), map[string]any{"metadata": map[string]any{"annotations": saved.GetAnnotations()}})
	}
	return f
}

// otherInstallations are faults of a second installation, or of what is left of akv2k8s 1.8.
func (q *quiz) otherInstallations() []fault {
	second := stage.Release{Name: "second", Namespace: "second", Values: map[string]any{"env_injector": map[string]any{"enabled": false}}}
	v1 := `{apiVersion: apps/v1, kind: Deployment, metadata: {name: old-controller, labels: {app.kubernetes.io/component: controller}},
		spec: {selector: {matchLabels: {app: old}}, template: {metadata: {labels: {app: old}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: controller,
		image: "docker.io/spvest/azure-keyvault-controller:1.8.2", imagePullPolicy: Never}]}}}}`
	ready := func(namespace, name string) func(context.Context) error {
		return func(ctx context.Context) error {
			return stage.Await(ctx, patience, name, func(ctx context.Context) error {
				var d appsv1.Deployment
				if err := q.stage.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &d); err != nil {
					return err
				}
				if d.Status.ReadyReplicas == 0 {
					return errors.New("it is not ready")
				}
				return nil
			})
		}
	}
	old := home{q, "old"}
	return []fault{
		{name: "two installations for all namespaces", says: []string{"several installations serve all namespaces", "second/second"}, next: "uninstall one of them", commands: wholeCluster(),
			plant: func(ctx context.Context) error { return q.stage.Install(ctx, second) },
			undo: func(ctx context.Context) error {
				_, err := q.stage.Helm(ctx, "uninstall", second.Name, "--namespace", second.Namespace, "--wait")
				return err
			}},
		{name: "akv2k8s 1.8 next to it", says: []string{"old/old", "1.8 still runs"}, next: "uninstall the release of 1.8", commands: wholeCluster(), also: []string{"several installations"},
			plant: func(ctx context.Context) error {
				if err := q.stage.LoadV1Programs(ctx); err != nil {
					return err
				}
				if err := q.stage.Namespace(ctx, old.name, nil); err != nil {
					return err
				}
				if err := q.stage.Apply(ctx, old.name, v1); err != nil {
					return err
				}
				return ready(old.name, "old-controller")(ctx)
			},
			undo: old.remove},
	}
}

// startFaults are settings with which the controller does not start. It runs on with the pod that it had.
func startFaults(_ *testing.T, q *quiz) []fault {
	var faults []fault
	for _, c := range []struct {
		name, variable, value string
		says                  []string
		next                  string
	}{
		{"a method that does not exist", "AUTH_TYPE", "kerberos", []string{"kerberos"}, "environment"},
		{"a cloud that does not exist", "AZURE_ENVIRONMENT", "AzureMoon", []string{"AzureMoon"}, "AzureUSGovernmentCloud"},
		{"no client id", "AZURE_CLIENT_SECRET", canary, []string{"incomplete"}, "AZURE_CLIENT_ID"},
		{"no certificate", "AZURE_CERTIFICATE_PATH", "/no/such.pfx", []string{"/no/such.pfx"}, "AZURE_CERTIFICATE_PATH"},
	} {
		faults = append(faults, q.templated(fault{name: c.name, says: append([]string{"deployment/" + controller}, c.says...), next: c.next, severity: "warning", commands: wholeCluster()},
			controller, func(d *appsv1.Deployment) {
				variables := map[string]string{c.variable: c.value}
				if c.variable != "AUTH_TYPE" {
					variables["AUTH_TYPE"] = "environment"
				}
				variables["AZURE_TENANT_ID"] = local.TenantID
				if c.variable != "AZURE_CLIENT_SECRET" {
					variables["AZURE_CLIENT_ID"] = stage.AppClientID
				}
				setEnv(d, variables)
			}).then(q.waiting(controller, func(p corev1.Pod) bool {
			return hasFailed(p) && slices.ContainsFunc(p.Spec.Containers[0].Env, func(v corev1.EnvVar) bool {
				return v.Name == c.variable && v.Value == c.value
			})
		})))
	}
	return append(faults, q.templated(fault{name: "no azure.json", says: []string{"deployment/" + controller, "azure.json"}, next: "", severity: "warning", commands: wholeCluster()},
		controller, func(d *appsv1.Deployment) {
			args := d.Spec.Template.Spec.Containers[0].Args
			d.Spec.Template.Spec.Containers[0].Args = append(args, "--cloud-config=/no/such/azure.json")
		}).then(q.waiting(controller, func(p corev1.Pod) bool {
		return hasFailed(p) && slices.Contains(p.Spec.Containers[0].Args, "--cloud-config=/no/such/azure.json")
	})))
}

// hasFailed reports whether a container of a pod has ended.
func hasFailed(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(status corev1.ContainerStatus) bool {
		return status.State.Terminated != nil || status.LastTerminationState.Terminated != nil
	})
}

// setEnv sets variables of the controller's container.
func setEnv(d *appsv1.Deployment, variables map[string]string) {
	c := &d.Spec.Template.Spec.Containers[0]
	for name, value := range variables {
		for i := range c.Env {
			if c.Env[i].Name == name {
				c.Env = append(c.Env[:i], c.Env[i+1:]...)
				break
			}
		}
		c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
	}
}

// signInFaults are of the identity of the installation. The controller has a token from before; the Job of the doctor
// requests one.
func signInFaults(t *testing.T, q *quiz) []fault {
	t.Helper()
	h := home{q, "signin"}
	require.NoError(t, h.create(t.Context(), nil))
	t.Cleanup(func() { require.NoError(t, h.remove(context.WithoutCancel(t.Context()))) })
	require.NoError(t, h.resource(t.Context(), "db", ""))
	require.NoError(t, h.awaitReason(t.Context(), "db", "Synced"))
	kubelet := entra.Principal{Name: "kubelet", ClientID: local.KubeletIdentityClientID, ObjectID: stage.KubeletObjectID, ManagedIdentity: "user"}
	seed := func(p entra.Principal) func(context.Context) error {
		return func(ctx context.Context) error {
			return q.stage.Azure.Seed(ctx, emulator.Seed{Principals: []entra.Principal{p}})
		}
	}
	commands := [][]string{{"doctor", "-n", h.name, "akvs/db", "--azure"}}
	var faults []fault
	for _, c := range []struct {
		name        string
		change      func(*entra.Principal)
		says        []string
		next, azure string
	}{
		{"an identity that is not assigned to the node", func(p *entra.Principal) { p.ManagedIdentity = "" }, []string{"the identity is not assigned to this node"}, "assign it", "az vmss identity assign"},
		{"a metadata service that is being updated", func(p *entra.Principal) { p.MetadataStatus = 410 }, []string{"the metadata service answered 410"}, "check the node", ""},
		{"a metadata service with an error", func(p *entra.Principal) { p.MetadataStatus = 500 }, []string{"the metadata service answered 500"}, "check the node", ""},
		{"a metadata service with too many requests", func(p *entra.Principal) { p.MetadataStatus = 429 }, []string{"the metadata service answered 429"}, "requests tokens", ""},
		{"no metadata service", func(p *entra.Principal) { p.MetadataStatus = 404 }, []string{"the metadata service answered 404"}, "check the node", ""},
	} {
		p := kubelet
		c.change(&p)
		faults = append(faults, fault{name: c.name, says: c.says, next: c.next, azureCommand: c.azure, commands: commands, plant: seed(p), undo: seed(kubelet)})
	}
	p := &principals{}
	for _, c := range []struct {
		name        string
		env         []string
		says        []string
		next, azure string
	}{
		{"a client secret that is wrong", application("AZURE_CLIENT_SECRET=" + canary), []string{"the client secret is wrong"}, "use the secret's value", "az ad app credential reset"},
		{"a client secret that has expired", p.refused(7000222), []string{"the client secret has expired"}, "create a new one", "az ad app credential reset"},
		{"an application that does not exist", []string{"AZURE_TENANT_ID=" + local.TenantID, "AZURE_CLIENT_ID=" + unknownID, "AZURE_CLIENT_SECRET=" + canary}, []string{"the application does not exist"}, "check client id", "az ad app show"},
		{"a tenant that does not exist", []string{"AZURE_TENANT_ID=" + unknownID, "AZURE_CLIENT_ID=" + stage.AppClientID, "AZURE_CLIENT_SECRET=" + canary}, []string{"the tenant does not exist"}, "check the tenant id", "az account show"},
		{"a Conditional Access policy", p.refused(53003), []string{"a Conditional Access policy"}, "exclude the identity", ""},
		{"a federated credential of another issuer", p.refused(700211), []string{"the issuer of the pod's token"}, "issuer", "az identity federated-credential create"},
	} {
		f := q.templated(fault{name: c.name, says: c.says, next: c.next, azureCommand: c.azure, commands: commands}, controller, func(d *appsv1.Deployment) {
			variables := map[string]string{"AUTH_TYPE": "environment"}
			for _, text := range c.env {
				name, value, _ := strings.Cut(text, "=")
				variables[name] = value
			}
			setEnv(d, variables)
			zero := int32(0)
			d.Spec.Replicas = &zero // the Job alone signs in
		})
		faults = append(faults, f)
	}
	require.NoError(t, q.stage.Azure.Seed(t.Context(), p.seed))
	return faults
}
