//go:build cluster

package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// Modules of other projects.
const (
	operator = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
	argoCD   = "github.com/argoproj/argo-cd/v3@v3.1.0"
)

// definitions are CustomResourceDefinitions of other projects, by the Go module that has them.
func definitions() map[string][]string {
	const monitoring = "example/prometheus-operator-crd/monitoring.coreos.com_"
	return map[string][]string{
		operator: {monitoring + "servicemonitors.yaml", monitoring + "podmonitors.yaml", monitoring + "prometheusrules.yaml"},
		argoCD:   {"manifests/crds/application-crd.yaml"},
	}
}

// define applies the definitions of a module.
func define(t *testing.T, s *stage.Stage, module string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	require.NoError(t, err, string(out))
	var downloaded struct{ Dir string }
	require.NoError(t, json.Unmarshal(out, &downloaded))
	for _, file := range definitions()[module] {
		content, err := os.ReadFile(filepath.Join(downloaded.Dir, file))
		require.NoError(t, err)
		require.NoError(t, s.Apply(t.Context(), "", string(content)))
	}
	// kubectl knows a kind from the list of all resources, which is later than the definition.
	kind := map[string]string{operator: "PrometheusRule", argoCD: "Application"}[module]
	require.NoError(t, stage.Await(t.Context(), time.Minute, "the definitions", func(context.Context) error {
		_, lists, err := s.Kube.Discovery().ServerGroupsAndResources()
		for _, list := range lists {
			if slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == kind }) {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("%s is not served yet", kind))
	}))
}

// argo prepares the cluster for an Application: its definition, and its namespace.
func argo(t *testing.T, s *stage.Stage, e stage.Example) {
	t.Helper()
	define(t, s, argoCD)
	values, _, err := unstructured.NestedMap(objectsOf(t, e, "application.yaml")[0].Object, "spec", "source", "helm", "valuesObject")
	require.NoError(t, err)
	same(t, e.Values, values, "the values are those of the Application")
	require.NoError(t, s.Namespace(t.Context(), "argocd", nil))
}

// application compares what was applied with the file.
func application(t *testing.T, s *stage.Stage, e stage.Example) {
	t.Helper()
	wanted := objectsOf(t, e, "application.yaml")[0]
	kept := &unstructured.Unstructured{}
	kept.SetGroupVersionKind(wanted.GroupVersionKind())
	require.NoError(t, s.Client.Get(t.Context(), types.NamespacedName{Namespace: "argocd", Name: "akv2k8s"}, kept))
	assert.Equal(t, wanted.Object["spec"], kept.Object["spec"], "no field was unknown, and so dropped")
}

// same compares as JSON: numbers have several types here.
func same(t *testing.T, a, b any, message string) {
	t.Helper()
	left, err := json.Marshal(a)
	require.NoError(t, err)
	right, err := json.Marshal(b)
	require.NoError(t, err)
	assert.JSONEq(t, string(left), string(right), message)
}

func objectsOf(t *testing.T, e stage.Example, file string) []*unstructured.Unstructured {
	t.Helper()
	content, err := e.File(file)
	require.NoError(t, err)
	all := read(t, content)
	require.NotEmpty(t, all, file)
	return all
}

func read(t *testing.T, content string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(content), 4096); ; {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return all
		} else {
			require.NoError(t, err)
		}
		if len(object.Object) > 0 {
			all = append(all, object)
		}
	}
}

// flux compares with the fields that Flux documents; its definitions are not to be had as a Go module.
func flux(t *testing.T, e stage.Example) {
	t.Helper()
	documented := map[string][]string{"Namespace": nil, "GitRepository": {"interval", "url", "ref"},
		"HelmRelease": {"interval", "releaseName", "chart", "install", "upgrade", "driftDetection", "values"}}
	for _, object := range objectsOf(t, e, "release.yaml") {
		fields, known := documented[object.GetKind()]
		require.True(t, known, object.GetKind())
		spec, _, err := unstructured.NestedMap(object.Object, "spec")
		require.NoError(t, err)
		for field := range spec {
			assert.Contains(t, fields, field, object.GetKind())
		}
		if object.GetKind() == "HelmRelease" {
			assert.Equal(t, "helm.toolkit.fluxcd.io/v2", object.GetAPIVersion())
			same(t, e.Values, spec["values"], "the values are those of the HelmRelease")
		}
	}
}

// replicas wants so many ready replicas of controller and env-injector.
func replicas(controller, injector int32) outcome {
	return func(ctx context.Context, s *stage.Stage) error {
		for name, wanted := range map[string]int32{"akv2k8s-controller": controller, "akv2k8s-envinjector": injector} {
			var d appsv1.Deployment
			if err := s.Client.Get(ctx, types.NamespacedName{Namespace: "akv2k8s", Name: name}, &d); err != nil {
				return err
			}
			if d.Status.ObservedGeneration != d.Generation || d.Status.UpdatedReplicas != wanted || d.Status.ReadyReplicas != wanted {
				return fmt.Errorf("%s has %d ready replicas", name, d.Status.ReadyReplicas)
			}
		}
		return nil
	}
}

// kept wants budgets that keep replicas through drains.
func kept(names ...string) outcome {
	return func(ctx context.Context, s *stage.Stage) error {
		for _, name := range names {
			budget, err := s.Kube.PolicyV1().PodDisruptionBudgets("akv2k8s").Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if budget.Status.DisruptionsAllowed != 1 {
				return fmt.Errorf("of %s %d pods may go", name, budget.Status.DisruptionsAllowed)
			}
		}
		return nil
	}
}

// from wants every image of the pods of akv2k8s to match a pattern.
func from(pattern string) outcome {
	registry := regexp.MustCompile(pattern)
	return func(ctx context.Context, s *stage.Stage) error {
		var pods corev1.PodList
		if err := s.Client.List(ctx, &pods, client.InNamespace("akv2k8s")); err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if image := pod.Spec.Containers[0].Image; !registry.MatchString(image) {
				return fmt.Errorf("%s is from elsewhere", image)
			}
		}
		return nil
	}
}

// told wants the metrics of a resource, read as the example's README says, and the objects that make others read them.
func told(namespace string) outcome {
	return func(ctx context.Context, s *stage.Stage) error {
		out, err := s.Kube.CoreV1().Services("akv2k8s").ProxyGet("http", "akv2k8s-controller", "http", "/metrics", nil).DoRaw(ctx)
		if err != nil {
			return err
		}
		if wanted := fmt.Sprintf(`akv2k8s_resource_ready{name="database-password",namespace=%q} 1`, namespace); !strings.Contains(string(out), wanted) {
			return errors.New("the metrics have not " + wanted)
		}
		for kind, name := range map[string]string{"ServiceMonitor": "akv2k8s-controller", "PrometheusRule": "akv2k8s"} {
			object := &unstructured.Unstructured{}
			object.SetAPIVersion("monitoring.coreos.com/v1")
			object.SetKind(kind)
			if err := s.Client.Get(ctx, types.NamespacedName{Namespace: "akv2k8s", Name: name}, object); err != nil {
				return err
			}
		}
		return nil
	}
}

// renders are sent to the API server, which checks each field, and keeps nothing.
func renders(t *testing.T, s *stage.Stage) {
	define(t, s, operator)
	files, err := filepath.Glob(filepath.Join(s.Root, "tests", "chart", "testdata", "*.out.yaml"))
	require.NoError(t, err)
	examples, err := filepath.Glob(filepath.Join(s.Root, "examples", "*", "rendered.yaml"))
	require.NoError(t, err)
	require.Greater(t, len(files), 3)
	for _, namespace := range []string{"akv2k8s", "team", "example-team-a", "example-team-b"} {
		require.NoError(t, s.Namespace(t.Context(), namespace, nil))
	}
	taken := 0
	for _, file := range append(files, examples...) {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, object := range read(t, string(content)) {
			namespaced, err := s.Client.IsObjectNamespaced(object)
			if meta.IsNoMatchError(err) {
				elsewhere := []string{"AzurePodIdentityException", "Certificate", "Issuer"}
				assert.Contains(t, elsewhere, object.GetKind(), "the suites pod-identity and upgrade have the definitions of these")
				continue
			}
			require.NoError(t, err)
			if namespaced && object.GetNamespace() == "" {
				object.SetNamespace("akv2k8s")
			}
			if object.GetKind() == "Job" { // one of that name is there, of the release, and its template can't change
				object.SetName(object.GetName() + "-render")
			}
			body, err := object.MarshalJSON()
			require.NoError(t, err)
			assert.NoError(t, dryRun(t.Context(), s, object, body), "%s: %s %s", filepath.Base(file), object.GetKind(), object.GetName())
			taken++
		}
	}
	t.Logf("%d objects were taken", taken)
}

// dryRun asks the API server whether it would take an object, unknown fields included.
func dryRun(ctx context.Context, s *stage.Stage, object *unstructured.Unstructured, body []byte) error {
	mapping, err := s.Client.RESTMapper().RESTMapping(object.GroupVersionKind().GroupKind(), object.GroupVersionKind().Version)
	if err != nil {
		return err
	}
	group := object.GroupVersionKind().GroupVersion()
	path := "/apis/" + group.String()
	if group.Group == "" {
		path = "/api/" + group.Version
	}
	if object.GetNamespace() != "" {
		path += "/namespaces/" + object.GetNamespace()
	}
	path += "/" + mapping.Resource.Resource + "/" + object.GetName()
	request := s.Kube.CoreV1().RESTClient().Patch(types.ApplyYAMLPatchType).AbsPath(path).Param("fieldManager", "dry-run").Param("force", "true")
	return request.Param("dryRun", "All").Param("fieldValidation", "Strict").Body(body).Do(ctx).Error()
}

// manifests are made, applied without Helm, and have to become ready.
func manifests(t *testing.T, s *stage.Stage) {
	make := exec.CommandContext(t.Context(), "go", "run", "./tests/run", "manifests")
	make.Dir = s.Root
	out, err := make.CombinedOutput()
	require.NoError(t, err, string(out))
	files, err := filepath.Glob(filepath.Join(s.Root, "dist", "manifests", "*.yaml"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		all := read(t, string(content))
		if strings.HasSuffix(file, "restricted.yaml") {
			require.NoError(t, s.Apply(t.Context(), "akv2k8s", `{apiVersion: v1, kind: Secret, metadata: {name: azure-credentials}, stringData: {AZURE_TENANT_ID: a.example, AZURE_CLIENT_ID: b, AZURE_CLIENT_SECRET: c}}`))
		}
		for _, object := range all {
			text, err := object.MarshalJSON()
			require.NoError(t, err)
			require.NoError(t, stage.Await(t.Context(), time.Minute, object.GetKind()+" "+object.GetName(), func(ctx context.Context) error { return s.Apply(ctx, "", string(text)) }))
		}
		assert.NoError(t, stage.Await(t.Context(), 2*time.Minute, filepath.Base(file), func(ctx context.Context) error { return replicas(1, 2)(ctx, s) }))
		slices.Reverse(all)
		for _, object := range all {
			if object.GetKind() != "CustomResourceDefinition" && object.GetKind() != "Namespace" {
				require.NoError(t, client.IgnoreNotFound(s.Client.Delete(t.Context(), object)))
			}
		}
		require.NoError(t, s.Settled(t.Context(), "akv2k8s"))
	}
}
