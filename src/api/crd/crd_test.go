package crd_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/crd"
)

func TestTheDefinitionIsCarriedWithTheNumberOfItsSchema(t *testing.T) {
	var own metav1.PartialObjectMetadata
	require.NoError(t, yaml.Unmarshal(crd.YAML(), &own))
	assert.Equal(t, crd.Name, own.Name)
	assert.Equal(t, "CustomResourceDefinition", own.Kind)
	assert.Positive(t, crd.Schema(own.Annotations))
}

func TestWhatIsNoNumberIsTheOldestSchema(t *testing.T) {
	for text, want := range map[string]int{"": 0, "x": 0, "-1": 0, "1": 1, "12": 12} {
		assert.Equal(t, want, crd.Schema(map[string]string{crd.AnnotationSchema: text}), text)
	}
	assert.Zero(t, crd.Schema(nil))
}
