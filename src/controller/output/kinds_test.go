package output_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/crd"
	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
	"github.com/akv2k8s/akv2k8s/src/rights"
)

// fieldOf is the field of a kind in spec.output.
func fieldOf(kind output.Kind) string {
	path := recipe.Output{Kind: kind.String()}.FieldPath()
	return path[strings.LastIndex(path, ".")+1:]
}

func TestEveryKindOfOutputIsInTheSchema(t *testing.T) {
	var definition apiextensions.CustomResourceDefinition
	require.NoError(t, yaml.Unmarshal(crd.YAML(), &definition))
	for _, version := range definition.Spec.Versions {
		root := version.Schema.OpenAPIV3Schema.Properties
		for _, kind := range output.Kinds() {
			field := fieldOf(kind)
			assert.Contains(t, root["spec"].Properties["output"].Properties, field, "add the field to src/api/v2beta1, then run make generate: spec.output of %s", version.Name)
			assert.Contains(t, root["status"].Properties, field+"Name", "add the field to src/api/v2beta1, then run make generate: status of %s", version.Name)
			assert.Contains(t, root["status"].Properties, field+"Hash", "add the field to src/api/v2beta1, then run make generate: status of %s", version.Name)
		}
	}
}

func TestEveryKindOfOutputIsParsed(t *testing.T) {
	for _, kind := range output.Kinds() {
		r, err := fromapi.Parse([]byte(fmt.Sprintf(`{"spec":{"vault":{"name":"kv1","object":{"name":"o","type":"secret"}},"output":{%q:{"name":"out","dataKey":"k"}}}}`, fieldOf(kind))))
		require.NoError(t, err)
		assert.Equal(t, []recipe.Output{{Kind: kind.String(), Name: "out", DataKey: "k"}}, r.Outputs, "add the kind to toOutputs of src/recipe/fromapi")
	}
}

func TestEveryKindOfOutputIsDocumented(t *testing.T) {
	fields, err := os.ReadFile("../../../docs/reference/azurekeyvaultsecret.md")
	require.NoError(t, err)
	for _, kind := range output.Kinds() {
		assert.Contains(t, string(fields), "\n| `spec.output."+fieldOf(kind)+".name`", "docs/reference/azurekeyvaultsecret.md: add rows for its fields")
	}
}

func TestTheControllerMayWriteEveryKindOfOutput(t *testing.T) {
	allowed := map[string]bool{}
	for _, role := range rights.ControllerRoles() {
		for _, rule := range role.Rules {
			if rule.Package == "controller/store" {
				for _, permission := range rule.Permissions(false) {
					allowed[permission] = true
				}
			}
		}
	}
	for _, kind := range output.Kinds() {
		group, _, found := strings.Cut(kind.APIVersion(), "/")
		if !found {
			group = ""
		}
		for _, verb := range []string{"get", "list", "watch", "create", "patch", "delete"} {
			permission := group + "/" + strings.ToLower(kind.String()) + "s " + verb
			assert.True(t, allowed[permission], "add the resource to controllerSyncRules of src/rights, then run make generate: %s", permission)
		}
	}
}

// TestEveryKindOfOutputIsWrittenAndReadBack follows an output from the recipe to the live object and the status.
func TestEveryKindOfOutputIsWrittenAndReadBack(t *testing.T) {
	for _, kind := range output.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			d := desired(owner(), recipe.Output{Kind: kind.String(), Name: "out"}, map[string]keyvault.Value{"k": keyvault.NewValue([]byte("v"))})
			assert.Equal(t, kind, d.Kind)
			sent, err := json.Marshal(d.ApplyConfig("").Body)
			require.NoError(t, err)
			object := kind.NewObject()
			require.NoError(t, json.Unmarshal(sent, object))
			assert.Equal(t, []string{"shop", "out"}, []string{object.GetNamespace(), object.GetName()})
			written := managed("uid-1", "k")
			object.SetManagedFields([]metav1.ManagedFieldsEntry{written})
			live := kind.LiveFrom(object)
			assert.Equal(t, map[string][]byte{"k": []byte("v")}, live.Data)
			assert.True(t, output.IsInSync(live, d), "what was applied is in sync")

			empty, err := json.Marshal(output.EmptyApplyConfig(live).Body)
			require.NoError(t, err)
			assert.NotContains(t, string(empty), `"data"`)
			assert.NotContains(t, string(empty), `"type"`)

			var status v2beta1.AzureKeyVaultSecretStatus
			fields := kind.StatusFields(&status)
			*fields.Name, *fields.Hash = "out", "hash"
			assert.Equal(t, "out", output.NameInStatus(kind, &status))
			assert.Empty(t, kind.NameInSpec(&v2beta1.AzureKeyVaultOutput{}))
			assert.Empty(t, kind.NamesUsedBy(corev1.PodSpec{}))
		})
	}
}

func TestTheNamesOfOutputsAreFoundWhereverPodsUseThem(t *testing.T) {
	named := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	pod := corev1.PodSpec{
		InitContainers: []corev1.Container{{Env: []corev1.EnvVar{
			{Name: "PLAIN", Value: "v"},
			{ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: named("s1")}}},
			{ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named("c1")}}}}}},
		Containers: []corev1.Container{{EnvFrom: []corev1.EnvFromSource{
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named("s2")}},
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("c2")}}}}},
		Volumes: []corev1.Volume{
			{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s3"}}},
			{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: named("c3")}}},
			{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{Secret: &corev1.SecretProjection{LocalObjectReference: named("s4")}},
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: named("c4")}}}}}}},
	}
	assert.Equal(t, []string{"s1", "s2", "s3", "s4"}, output.Secret.NamesUsedBy(pod))
	assert.Equal(t, []string{"c1", "c2", "c3", "c4"}, output.ConfigMap.NamesUsedBy(pod))
	spec := v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: "s"}, ConfigMap: &v2beta1.AzureKeyVaultOutputConfigMap{Name: "c"}}
	assert.Equal(t, []string{"s", "c"}, []string{output.Secret.NameInSpec(&spec), output.ConfigMap.NameInSpec(&spec)})
}

func TestAnUnknownKindOfOutputIsABug(t *testing.T) {
	_, err := output.NewDesired(owner(), recipe.Output{Kind: "Pod", Name: "out"}, nil)
	assert.Equal(t, fault.Bug, fault.KindOf(err))
	assert.ErrorContains(t, err, `"Pod" is not a kind of output; use one of [Secret ConfigMap`)
}
