package clustertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// server serves a cluster over HTTP as the API server of Kubernetes does: discovery, the version, GET, LIST, POST and
// DELETE.
type server struct {
	cluster *Cluster
	objects client.WithWatch
	scheme  *runtime.Scheme
	decoder runtime.Decoder
	// kinds are the kinds of the scheme by resource.
	kinds map[schema.GroupVersionResource]schema.GroupVersionKind
	// logs returns the log of a pod.
	logs func(namespace, pod string) string
}

// Serve serves the cluster until the test ends, and returns the path of a kubeconfig. logs returns the log of a pod;
// nil means that pods have none.
func (c *Cluster) Serve(t *testing.T, logs func(namespace, pod string) string) string {
	t.Helper()
	return c.ServeClient(t, c.Client(t), logs)
}

// ServeClient is Serve with a client of the cluster that the test changed.
func (c *Cluster) ServeClient(t *testing.T, objects client.WithWatch, logs func(namespace, pod string) string) string {
	t.Helper()
	s := &server{cluster: c, objects: objects, scheme: NewScheme(t), logs: logs,
		kinds: map[schema.GroupVersionResource]schema.GroupVersionKind{}}
	s.decoder = serializer.NewCodecFactory(s.scheme).UniversalDeserializer()
	for kind := range s.scheme.AllKnownTypes() {
		plural, _ := meta.UnsafeGuessKindToResource(kind)
		if kind.Kind == "Endpoints" || strings.HasSuffix(kind.Kind, "List") || strings.HasSuffix(kind.Kind, "Options") {
			continue
		}
		s.kinds[plural] = kind
	}
	definitions := schema.GroupVersion{Group: "apiextensions.k8s.io", Version: "v1"}
	s.kinds[definitions.WithResource("customresourcedefinitions")] = definitions.WithKind("CustomResourceDefinition")
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(path, []byte(`apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "`+web.URL+`"}}]
users: [{name: test, user: {}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
`), 0o600))
	return path
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.Trim(r.URL.Path, "/")
	parts := strings.Split(path, "/")
	switch {
	case path == "version":
		info, at, _ := s.cluster.Version(r.Context())
		w.Header().Set("Date", at.UTC().Format(http.TimeFormat))
		answer(w, http.StatusOK, info)
	case path == "api":
		answer(w, http.StatusOK, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"},
			Versions: []string{"v1"}})
	case path == "apis":
		answer(w, http.StatusOK, s.groups())
	case parts[0] == "api" && len(parts) == 2:
		answer(w, http.StatusOK, s.resources(schema.GroupVersion{Version: parts[1]}))
	case parts[0] == "apis" && len(parts) == 3:
		answer(w, http.StatusOK, s.resources(schema.GroupVersion{Group: parts[1], Version: parts[2]}))
	case parts[0] == "api":
		s.serveObject(w, r, schema.GroupVersion{Version: parts[1]}, parts[2:])
	case parts[0] == "apis" && len(parts) > 3:
		s.serveObject(w, r, schema.GroupVersion{Group: parts[1], Version: parts[2]}, parts[3:])
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func answerError(w http.ResponseWriter, err error) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		status = apierrors.NewInternalError(err)
	}
	body := status.Status()
	body.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	answer(w, int(body.Code), body)
}

func (s *server) groups() metav1.APIGroupList {
	list := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	seen := map[schema.GroupVersion]bool{}
	for resource := range s.kinds {
		version := resource.GroupVersion()
		if version.Group == "" || seen[version] || version.Version == runtime.APIVersionInternal {
			continue
		}
		seen[version] = true
		one := metav1.GroupVersionForDiscovery{GroupVersion: version.String(), Version: version.Version}
		at := -1
		for i := range list.Groups {
			if list.Groups[i].Name == version.Group {
				at = i
			}
		}
		if at < 0 {
			list.Groups = append(list.Groups, metav1.APIGroup{Name: version.Group, PreferredVersion: one})
			at = len(list.Groups) - 1
		}
		list.Groups[at].Versions = append(list.Groups[at].Versions, one)
	}
	return list
}

// clusterScoped are the resources without a namespace that tests use.
func clusterScoped(resource string) bool {
	for _, name := range []string{"nodes", "namespaces", "clusterroles", "clusterrolebindings",
		"mutatingwebhookconfigurations", "customresourcedefinitions", "selfsubjectaccessreviews",
		"subjectaccessreviews"} {
		if name == resource {
			return true
		}
	}
	return false
}

func (s *server) resources(version schema.GroupVersion) metav1.APIResourceList {
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: version.String()}
	for resource, kind := range s.kinds {
		if resource.GroupVersion() == version {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: resource.Resource, Kind: kind.Kind,
				Namespaced: !clusterScoped(resource.Resource), Verbs: metav1.Verbs{"get", "list", "create", "delete"}})
		}
	}
	return list
}

// serveObject answers a request for an object or a list.
func (s *server) serveObject(w http.ResponseWriter, r *http.Request, version schema.GroupVersion, parts []string) {
	namespace := ""
	if parts[0] == "namespaces" && len(parts) > 2 {
		namespace, parts = parts[1], parts[2:]
	}
	kind, ok := s.kinds[version.WithResource(parts[0])]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if len(parts) == 3 && parts[2] == "log" && s.logs != nil {
		_, _ = io.WriteString(w, s.logs(namespace, parts[1]))
		return
	}
	var object runtime.Object
	var err error
	switch {
	case r.Method == http.MethodPost:
		object, err = s.createObject(r, namespace)
	case r.Method == http.MethodDelete:
		object, err = s.deleteObject(r.Context(), kind, client.ObjectKey{Namespace: namespace, Name: parts[1]})
	case len(parts) == 1:
		object, err = s.listObjects(r, kind, namespace)
	default:
		object, err = s.getObject(r.Context(), kind, client.ObjectKey{Namespace: namespace, Name: parts[1]})
	}
	if err != nil {
		answerError(w, err)
		return
	}
	answer(w, http.StatusOK, object)
}

// newObject returns an empty object of a kind, without a type if the scheme has none.
func (s *server) newObject(kind schema.GroupVersionKind) client.Object {
	if object, err := s.scheme.New(kind); err == nil {
		return object.(client.Object)
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	return u
}

func (s *server) getObject(ctx context.Context, kind schema.GroupVersionKind, key client.ObjectKey) (client.Object,
	error) {
	object := s.newObject(kind)
	if err := s.objects.Get(ctx, key, object); err != nil {
		return nil, err
	}
	object.GetObjectKind().SetGroupVersionKind(kind)
	return object, nil
}

func (s *server) deleteObject(ctx context.Context, kind schema.GroupVersionKind, key client.ObjectKey) (client.Object,
	error) {
	object, err := s.getObject(ctx, kind, key)
	if err != nil {
		return nil, err
	}
	return object, s.objects.Delete(ctx, object)
}

func (s *server) createObject(r *http.Request, namespace string) (runtime.Object, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	decoded, kind, err := s.decoder.Decode(body, nil, nil)
	if err != nil {
		return nil, err
	}
	object, ok := decoded.(client.Object)
	if !ok {
		return nil, fmt.Errorf("%s is not an object", kind)
	}
	if namespace != "" {
		object.SetNamespace(namespace)
	}
	var options []client.CreateOption
	if r.URL.Query().Get("dryRun") != "" {
		options = append(options, client.DryRunAll)
	}
	if err := s.objects.Create(r.Context(), object, options...); err != nil {
		return nil, err
	}
	object.GetObjectKind().SetGroupVersionKind(*kind)
	return object, nil
}

func (s *server) listObjects(r *http.Request, kind schema.GroupVersionKind, namespace string) (runtime.Object, error) {
	made, err := s.scheme.New(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if err != nil {
		return nil, err
	}
	list := made.(client.ObjectList)
	options := []client.ListOption{client.InNamespace(namespace)}
	if text := r.URL.Query().Get("labelSelector"); text != "" {
		selector, err := labels.Parse(text)
		if err != nil {
			return nil, err
		}
		options = append(options, client.MatchingLabelsSelector{Selector: selector})
	}
	if text := r.URL.Query().Get("fieldSelector"); text != "" {
		selector, err := fields.ParseSelector(text)
		if err != nil {
			return nil, err
		}
		options = append(options, client.MatchingFieldsSelector{Selector: selector})
	}
	if err := s.objects.List(r.Context(), list, options...); err != nil {
		return nil, err
	}
	list.GetObjectKind().SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	return list, nil
}
