package store_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/controller/store"
)

func TestOfOutputsTheCacheKeepsNoMoreThanIsAsked(t *testing.T) {
	object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "n", ResourceVersion: "7", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d", "keys.akv2k8s.io/u": "db: password"},
		OwnerReferences: []metav1.OwnerReference{{UID: "u"}}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}}}
	kept, err := store.StripMetadata(object)
	require.NoError(t, err)
	assert.Equal(t, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "n", ResourceVersion: "7", OwnerReferences: []metav1.OwnerReference{{UID: "u"}},
		Annotations: map[string]string{"keys.akv2k8s.io/u": "db: password"}}}, kept)
	kept, err = store.StripMetadata("a tombstone")
	require.NoError(t, err)
	assert.Equal(t, "a tombstone", kept)
}
