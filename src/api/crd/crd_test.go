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

func TestPrinterColumns(t *testing.T) {
	for _, version := range definition(t).Spec.Versions {
		columns := version.AdditionalPrinterColumns
		if columns == nil {
			columns = definition(t).Spec.AdditionalPrinterColumns
		}
		var always, wide []string
		for _, column := range columns {
			if column.Priority == 0 {
				always = append(always, column.Name)
			} else {
				wide = append(wide, column.Name+" "+column.JSONPath)
			}
		}
		assert.Equal(t, []string{"Vault", "Vault Object", "Secret Name", "ConfigMap Name", "Changed", "Ready", "Reason", "Age"}, always, version.Name)
		assert.Equal(t, []string{"Expires .status.expires", `Message .status.conditions[?(@.type=="Ready")].message`}, wide, version.Name)
	}
}
