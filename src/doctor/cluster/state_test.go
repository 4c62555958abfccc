package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

func TestListsAreReadInPagesOnceAndToALimit(t *testing.T) {
	pages, fails := 0, true
	live := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{List: func(_ context.Context, _ client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
		if fails {
			fails = false
			return errors.New("away")
		}
		applied := (&client.ListOptions{}).ApplyOptions(options)
		assert.Equal(t, int64(limits.DoctorListPage), applied.Limit)
		pages++
		nodes := list.(*corev1.NodeList)
		for n := range limits.DoctorListPage {
			nodes.Items = append(nodes.Items, corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%d-%d", pages, n)}})
		}
		nodes.Continue = "more"
		return nil
	}})
	s := cluster.New(cluster.Config{Client: live, Now: time.Now})
	var nodes corev1.NodeList
	_, err := s.List(t.Context(), &nodes)
	require.ErrorContains(t, err, "away")
	for range 3 {
		nodes = corev1.NodeList{}
		complete, err := s.List(t.Context(), &nodes)
		require.NoError(t, err, "an error is not remembered")
		assert.False(t, complete)
		assert.Len(t, nodes.Items, limits.DoctorListItems)
	}
	assert.Equal(t, limits.DoctorListItems/limits.DoctorListPage, pages)
}

func TestTheVersionComesWithTheTimeOfTheServer(t *testing.T) {
	body, status := `{"gitVersion":"v1.37.0"}`, http.StatusOK
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/prefix/version", r.URL.Path)
		w.Header().Set("Date", "Sun, 29 Nov 2026 12:00:00 GMT")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(web.Close)
	server, err := cluster.NewAPIServer(&rest.Config{Host: web.URL + "/prefix"})
	require.NoError(t, err)
	info, at, err := server.Version(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "v1.37.0", info.GitVersion)
	assert.Equal(t, time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC), at)
	body = "<html>"
	_, _, err = server.Version(t.Context())
	require.ErrorContains(t, err, "did not answer with a version")
	status = http.StatusForbidden
	_, _, err = server.Version(t.Context())
	require.ErrorContains(t, err, "answered 403")
	web.Close()
	_, _, err = server.Version(t.Context())
	require.Error(t, err)
}
