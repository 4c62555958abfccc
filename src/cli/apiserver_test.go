package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
)

// apiResource is a resource that the server has.
type apiResource struct {
	schema.GroupVersion
	plural, kind string
	namespaced   bool
}

func apiResources() []apiResource {
	core, apps := schema.GroupVersion{Version: "v1"}, schema.GroupVersion{Group: "apps", Version: "v1"}
	return []apiResource{
		{v2beta1.GroupVersion(), "azurekeyvaultsecrets", "AzureKeyVaultSecret", true},
		{core, "pods", "Pod", true}, {core, "configmaps", "ConfigMap", true}, {core, "secrets", "Secret", true},
		{core, "namespaces", "Namespace", false}, {apps, "deployments", "Deployment", true},
		{schema.GroupVersion{Group: "admissionregistration.k8s.io", Version: "v1"}, "mutatingwebhookconfigurations",
			"MutatingWebhookConfiguration", false},
	}
}

// apiServer serves objects over HTTP as the API server of Kubernetes does: discovery, GET, LIST in pages, WATCH and
// PATCH. The objects are in the fake client of controller-runtime. It stands in for a cluster, which unit tests have not.
type apiServer struct {
	*httptest.Server
	objects client.WithWatch
	// kubeconfig is the path of a kubeconfig with the namespace team.
	kubeconfig string
	// onPatch is called after an object was patched.
	onPatch func(object *unstructured.Unstructured)
	// exec answers requests to run a command in a container.
	exec http.HandlerFunc

	mu       sync.Mutex
	requests []string
	// forbidden are resources that the user must not read; missing are those that the server does not have.
	forbidden, missing []string
}

func newAPIServer(t *testing.T, objects ...client.Object) *apiServer {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, clientgoscheme.AddToScheme(scheme))
	for _, kind := range []string{"AzureKeyVaultSecret", "AzureKeyVaultSecretList"} { // without a type, so that no field is lost
		var object runtime.Object = &unstructured.Unstructured{}
		if strings.HasSuffix(kind, "List") {
			object = &unstructured.UnstructuredList{}
		}
		scheme.AddKnownTypeWithName(v2beta1.GroupVersion().WithKind(kind), object)
	}
	s := &apiServer{objects: fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithReturnManagedFields().
		Build()}
	s.Server = httptest.NewServer(http.HandlerFunc(s.handle))
	t.Cleanup(s.Close)
	s.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(s.kubeconfig, []byte(`apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "`+s.URL+`"}}]
users: [{name: test, user: {}}]
contexts: [{name: test, context: {cluster: test, user: test, namespace: team}}]
`), 0o600))
	return s
}

// objectsOf decodes a stream of YAML.
func objectsOf(t *testing.T, stream string) []client.Object {
	t.Helper()
	var all []client.Object
	for document := range strings.SplitSeq(stream, "\n---\n") {
		object := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal([]byte(document), &object.Object), document)
		all = append(all, object)
	}
	return all
}

// seen returns the requests so far, without those for discovery.
func (s *apiServer) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func (s *apiServer) handle(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	version := schema.GroupVersion{}
	switch {
	case parts[0] == "api" && len(parts) > 1:
		version.Version, parts = parts[1], parts[2:]
	case parts[0] == "apis" && len(parts) > 2:
		version.Group, version.Version, parts = parts[1], parts[2], parts[3:]
	default:
		s.answerGroups(w, parts)
		return
	}
	if len(parts) == 0 {
		s.answerResources(w, version)
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	namespace := ""
	if parts[0] == "namespaces" && len(parts) > 2 {
		namespace, parts = parts[1], parts[2:]
	}
	for _, resource := range apiResources() {
		if resource.GroupVersion == version && resource.plural == parts[0] && !slices.Contains(s.missing, parts[0]) {
			s.answer(w, r, resource, types.NamespacedName{Namespace: namespace, Name: strings.Join(parts[1:], "/")})
			return
		}
	}
	http.NotFound(w, r)
}

func (s *apiServer) answerGroups(w http.ResponseWriter, parts []string) {
	if parts[0] == "api" {
		writeJSON(w, http.StatusOK, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
		return
	}
	list := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	for _, resource := range apiResources() {
		if resource.Group == "" || slices.Contains(s.missing, resource.plural) {
			continue
		}
		version := metav1.GroupVersionForDiscovery{GroupVersion: resource.String(), Version: resource.Version}
		list.Groups = append(list.Groups, metav1.APIGroup{Name: resource.Group, PreferredVersion: version,
			Versions: []metav1.GroupVersionForDiscovery{version}})
	}
	if parts[0] == "apis" && len(parts) == 2 {
		for _, group := range list.Groups {
			if group.Name == parts[1] {
				writeJSON(w, http.StatusOK, group)
				return
			}
		}
		http.Error(w, "no such group", http.StatusNotFound)
		return
	}
	writeJSON(w, http.StatusOK, list)
}

func (s *apiServer) answerResources(w http.ResponseWriter, version schema.GroupVersion) {
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: version.String()}
	for _, resource := range apiResources() {
		if resource.GroupVersion == version && !slices.Contains(s.missing, resource.plural) {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: resource.plural, Kind: resource.kind,
				Namespaced: resource.namespaced, Verbs: metav1.Verbs{"get", "list", "watch", "patch"}})
		}
	}
	if len(list.APIResources) == 0 {
		http.Error(w, "no such version", http.StatusNotFound)
		return
	}
	writeJSON(w, http.StatusOK, list)
}

func (s *apiServer) answer(w http.ResponseWriter, r *http.Request, resource apiResource, key types.NamespacedName) {
	if slices.Contains(s.forbidden, resource.plural) {
		writeError(w, apierrors.NewForbidden(schema.GroupResource{Group: resource.Group, Resource: resource.plural}, key.Name,
			fmt.Errorf("user jane can't do that")))
		return
	}
	if pod, isExec := strings.CutSuffix(key.Name, "/exec"); isExec {
		r.SetPathValue("pod", pod)
		s.exec(w, r)
		return
	}
	ctx, kind := r.Context(), resource.WithKind(resource.kind)
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kind)
	var err error
	switch {
	case r.Method == http.MethodPatch:
		object.SetNamespace(key.Namespace)
		object.SetName(key.Name)
		content, _ := io.ReadAll(r.Body)
		patch := client.RawPatch(types.PatchType(r.Header.Get("Content-Type")), content)
		if err = s.objects.Patch(ctx, object, patch, client.FieldOwner(r.URL.Query().Get("fieldManager"))); err == nil && s.onPatch != nil {
			s.onPatch(object.DeepCopy())
		}
	case key.Name != "":
		err = s.objects.Get(ctx, key, object)
	default:
		s.answerList(w, r, resource, key.Namespace)
		return
	}
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, asRequested(r, object))
}

// asRequested is an object, or its metadata if the request is for them alone.
func asRequested(r *http.Request, object *unstructured.Unstructured) any {
	if !strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata") {
		return object
	}
	return map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object.Object["metadata"]}
}

func (s *apiServer) answerList(w http.ResponseWriter, r *http.Request, resource apiResource, namespace string) {
	query := r.URL.Query()
	selector, err := labels.Parse(query.Get("labelSelector"))
	if err != nil {
		writeError(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	name, _ := fields.ParseSelectorOrDie(query.Get("fieldSelector")).RequiresExactMatch("metadata.name")
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(resource.WithKind(resource.kind + "List"))
	options := []client.ListOption{client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: selector}}
	if query.Get("watch") != "" {
		s.answerWatch(w, r, list, options, name)
		return
	}
	if err := s.objects.List(r.Context(), list, options...); err != nil {
		writeError(w, err)
		return
	}
	from, limit := 0, len(list.Items)
	_, _ = fmt.Sscan(query.Get("continue"), &from)
	_, _ = fmt.Sscan(query.Get("limit"), &limit)
	end := min(from+limit, len(list.Items))
	if end < len(list.Items) {
		list.SetContinue(fmt.Sprint(end))
	}
	items := []any{}
	for i := range list.Items[from:end] {
		items = append(items, asRequested(r, &list.Items[from+i]))
	}
	answer := map[string]any{"apiVersion": list.GetAPIVersion(), "kind": list.GetKind(), "items": items,
		"metadata": map[string]any{"resourceVersion": "1000", "continue": list.GetContinue()}}
	if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
		answer["apiVersion"], answer["kind"] = "meta.k8s.io/v1", "PartialObjectMetadataList"
	}
	writeJSON(w, http.StatusOK, answer)
}

func (s *apiServer) answerWatch(w http.ResponseWriter, r *http.Request, list client.ObjectList, options []client.ListOption,
	name string) {
	watching, err := s.objects.Watch(r.Context(), list, options...)
	if err != nil {
		writeError(w, err)
		return
	}
	defer watching.Stop()
	w.Header().Set("Content-Type", "application/json")
	w.(http.Flusher).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case event := <-watching.ResultChan():
			object, ok := event.Object.(client.Object)
			if !ok || name != "" && object.GetName() != name {
				continue
			}
			content, _ := json.Marshal(map[string]any{"type": event.Type, "object": event.Object})
			_, _ = w.Write(append(content, '\n'))
			w.(http.Flusher).Flush()
		}
	}
}

func writeError(w http.ResponseWriter, err error) {
	status := apierrors.NewInternalError(err)
	if known, ok := err.(*apierrors.StatusError); ok { //nolint:errorlint // the fake client wraps none
		status = known
	}
	answer := status.Status()
	answer.Kind, answer.APIVersion = "Status", "v1"
	writeJSON(w, int(answer.Code), answer)
}

func writeJSON(w http.ResponseWriter, code int, content any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(content)
}

// change changes a resource of the namespace team.
func (s *apiServer) change(t *testing.T, name string, edit func(*v2beta1.AzureKeyVaultSecret)) {
	t.Helper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v2beta1.GroupVersion().WithKind("AzureKeyVaultSecret"))
	require.NoError(t, s.objects.Get(t.Context(), types.NamespacedName{Namespace: "team", Name: name}, object))
	r := &v2beta1.AzureKeyVaultSecret{}
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, r))
	edit(r)
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(r)
	require.NoError(t, err)
	require.NoError(t, s.objects.Update(t.Context(), &unstructured.Unstructured{Object: content}))
}

// output collects what a command prints while it runs.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(content []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(content)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// has waits until the output has a text.
func (o *output) has(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(o.String(), text) }, 20*time.Second, 10*time.Millisecond, text)
}
