package crdupgrade_test

import (
	"context"
	"errors"
	"testing"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/api/crd"
	"github.com/akv2k8s/akv2k8s/src/controller/crdupgrade"
)

// live returns a definition with a schema number; empty means none.
func live(number string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}}
	u.SetName(crd.Name)
	if number != "" {
		u.SetAnnotations(map[string]string{crd.AnnotationSchema: number})
	}
	return u
}

// server returns an API server that sets the given condition on an applied definition.
func server(objects []client.Object, condition, status string) client.Client {
	return fake.NewClientBuilder().WithScheme(runtime.NewScheme()).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			err := c.Get(ctx, key, object, options...)
			if u, ok := object.(*unstructured.Unstructured); ok && condition != "" && err == nil {
				return unstructured.SetNestedSlice(u.Object, []any{map[string]any{"type": condition, "status": status, "message": "by another"}}, "status", "conditions")
			}
			return err
		},
	}).Build()
}

func TestAnOlderDefinitionIsRefusedWithWhatToRun(t *testing.T) {
	for name, c := range map[string]struct {
		objects []client.Object
		says    string
	}{
		"none":                 {nil, "does not exist"},
		"of akv2k8s 1.8":       {[]client.Object{live("")}, "has schema 0, and this version needs 3"},
		"one of our own":       {[]client.Object{live("3")}, ""},
		"one that comes later": {[]client.Object{live("3")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := crdupgrade.CheckSchema(t.Context(), server(c.objects, "", ""))
			if c.says == "" {
				assert.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.says)
			assert.ErrorContains(t, err, "kubectl apply --server-side --force-conflicts")
		})
	}
	refusing := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "customresourcedefinitions"}, crd.Name, errors.New("no"))
	}})
	assert.True(t, apierrors.IsForbidden(crdupgrade.CheckSchema(t.Context(), refusing)), "who asks can tell that nobody may look")
	_, err := crdupgrade.Apply(t.Context(), refusing)
	assert.True(t, apierrors.IsForbidden(err))
}

func TestTheDefinitionIsMadeOrReplacedAndOneThatIsNewerStays(t *testing.T) {
	for name, c := range map[string]struct {
		objects []client.Object
		says    string
		number  string
	}{
		"none":           {nil, "has schema 3", "3"},
		"of akv2k8s 1.8": {[]client.Object{live("")}, "has schema 3", "3"},
		"a newer one":    {[]client.Object{live("7")}, "newer than our 3; not changed", "7"},
	} {
		t.Run(name, func(t *testing.T) {
			api := server(c.objects, "Established", "True")
			said, err := crdupgrade.Apply(t.Context(), api)
			require.NoError(t, err)
			assert.Contains(t, said, c.says)
			after := live("")
			require.NoError(t, api.Get(t.Context(), types.NamespacedName{Name: crd.Name}, after))
			assert.Equal(t, c.number, after.GetAnnotations()[crd.AnnotationSchema])
		})
	}
}

func TestADefinitionThatIsNotServedIsNoSuccess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct{ condition, status, says string }{
		{"NamesAccepted", "False", "its names conflict with another definition: by another"},
		{"NamesAccepted", "True", "has not processed it yet"},
		{"Established", "False", "has not processed it yet"},
		{"", "", "has not processed it yet"},
	} {
		_, err := crdupgrade.Apply(ctx, server(nil, c.condition, c.status))
		assert.ErrorContains(t, err, c.says, "%+v", c)
	}
}

func TestADefinitionThatMayNotBeReadIsNotCheckedAndAnotherErrorIsTold(t *testing.T) {
	for reason, answer := range map[string]error{
		"":               apierrors.NewForbidden(schema.GroupResource{}, "crd", errors.New("no")),
		"no reply":       errors.New("no reply"),
		"does not exist": apierrors.NewNotFound(schema.GroupResource{}, "crd"),
	} {
		api := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
			Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
				return answer
			},
		})
		err := crdupgrade.CheckSchemaIfReadable(t.Context(), api, logr.Discard())
		if reason == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, reason)
		}
	}
}
