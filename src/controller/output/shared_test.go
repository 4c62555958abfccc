package output_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/akv2k8s/akv2k8s/src/controller/output"
)

// by returns the managedFields entry of another manager.
func by(manager, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)}
}

func TestWhatMakesAnOutputShared(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*corev1.Secret)
		shared bool
	}{
		"nothing":                {func(*corev1.Secret) {}, false},
		"an edit of our own key": {func(s *corev1.Secret) { s.ManagedFields[0] = managed("uid-1", "other") }, false},
		"a label": {func(s *corev1.Secret) {
			s.ManagedFields = append(s.ManagedFields, by("kubectl", `{"f:metadata":{"f:labels":{"f:x":{}}}}`))
		}, false},
		"an entry that can't be read": {func(s *corev1.Secret) { s.ManagedFields = append(s.ManagedFields, by("kubectl", `{`)) }, false},
		"a key of another resource": {func(s *corev1.Secret) {
			s.Data["x"] = nil
			s.ManagedFields = append(s.ManagedFields, managed("uid-2", "x"))
		}, false},
		"a key of the predecessor": {func(s *corev1.Secret) {
			s.Data["x"] = nil
			s.ManagedFields = append(s.ManagedFields, by("azure-keyvault-controller", `{"f:data":{"f:x":{}}}`))
		}, false},
		"a key that nobody owns": {func(s *corev1.Secret) { s.Data["x"] = nil }, true},
		"a key of a tool": {func(s *corev1.Secret) {
			s.Data["x"] = nil
			s.ManagedFields = append(s.ManagedFields, by("helm", `{"f:data":{"f:x":{}}}`))
		}, true},
		"its type": {func(s *corev1.Secret) { s.ManagedFields = append(s.ManagedFields, by("helm", `{"f:type":{}}`)) }, true},
		"a tool's label": {func(s *corev1.Secret) {
			s.ManagedFields = append(s.ManagedFields, by("helm", `{"f:metadata":{"f:labels":{"f:app.kubernetes.io/managed-by":{}}}}`))
		}, true},
		"a tool's annotation": {func(s *corev1.Secret) {
			s.ManagedFields = append(s.ManagedFields, by("argocd", `{"f:metadata":{"f:annotations":{"f:argocd.argoproj.io/tracking-id":{}}}}`))
		}, true},
		"another owner": {func(s *corev1.Secret) {
			s.OwnerReferences = append(s.OwnerReferences, metav1.OwnerReference{APIVersion: "cert-manager.io/v1", Kind: "Certificate"})
		}, true},
		"the annotation":               {func(s *corev1.Secret) { s.Annotations["akv2k8s.io/adopt"] = "true" }, true},
		"a note of any resource":       {func(s *corev1.Secret) { s.Annotations["keys.akv2k8s.io/uid-9"] = "x: y" }, true},
		"an object that we never had":  {func(s *corev1.Secret) { s.OwnerReferences, s.ManagedFields = nil, nil }, true},
		"references without any entry": {func(s *corev1.Secret) { s.ManagedFields = nil }, false},
	} {
		s := applied()
		c.change(s)
		assert.Equal(t, c.shared, output.HasForeignData(output.LiveFromSecret(s), newDesired(owner())), name)
	}
}

func TestASharedOutputHasANoteAndNoReference(t *testing.T) {
	d := newDesired(owner()).AsShared()
	assert.NotContains(t, newDesired(owner()).Annotations, "keys.akv2k8s.io/uid-1")
	assert.Equal(t, len("db: password"), len(d.Annotations["keys.akv2k8s.io/uid-1"]))
	assert.GreaterOrEqual(t, d.KeysAnnotationSize(), len("db: password"))
	sent := d.ApplyConfig("u").Body.(*corev1ac.SecretApplyConfiguration)
	assert.Empty(t, sent.OwnerReferences)
	assert.Equal(t, map[string]output.KeyOwnership{"uid-1": {ResourceName: "db", Keys: map[string]bool{"password": true}}}, output.KeyOwnerships(d.Annotations))

	live := applied()
	live.Annotations["keys.akv2k8s.io/uid-1"] = "db: password"
	live.ManagedFields[0].FieldsV1 = metav1.NewFieldsV1(`{"f:data":{"f:password":{}},"f:metadata":{"f:annotations":{"f:note":{},"f:keys.akv2k8s.io/uid-1":{}},"f:labels":{"f:team":{},"f:akv2k8s.io/managed":{}}}}`)
	assert.False(t, output.IsInSync(output.LiveFromSecret(live), d), "the reference has to go")
	live.OwnerReferences = nil
	assert.True(t, output.IsInSync(output.LiveFromSecret(live), d))
}

func TestContestedKeys(t *testing.T) {
	foreign := func() *corev1.Secret {
		s := applied()
		s.OwnerReferences, s.ManagedFields = nil, []metav1.ManagedFieldsEntry{by("helm", `{"f:data":{"f:password":{}}}`)}
		return s
	}
	contested := func(s *corev1.Secret) []string {
		return output.ForeignDataKeys(output.LiveFromSecret(s), newDesired(owner()))
	}
	assert.Equal(t, []string{"password"}, contested(foreign()))
	assert.Empty(t, contested(applied()), "an edit by hand is repaired")
	s := foreign()
	s.Annotations["akv2k8s.io/adopt"] = "true"
	assert.Equal(t, []string{"password"}, contested(s), "true adds keys alone")
	s.Annotations["akv2k8s.io/adopt"] = "other, password"
	assert.Empty(t, contested(s))
	assert.Equal(t, "more,other,password", output.AdoptAnnotationValue(output.LiveFromSecret(s), []string{"more"}))
	assert.Equal(t, "more", output.AdoptAnnotationValue(output.LiveFromSecret(foreign()), []string{"more"}))
	s = foreign()
	s.Annotations["keys.akv2k8s.io/uid-1"] = "db: password"
	assert.Empty(t, contested(s), "it was ours, and was edited")
	s.Annotations["keys.akv2k8s.io/uid-1"] = "db: other"
	assert.Equal(t, []string{"password"}, contested(s))
}

func TestAllReferencesOfOursGoAtOnce(t *testing.T) {
	s := applied()
	s.ResourceVersion = "7"
	s.OwnerReferences = append(s.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "Pod"},
		metav1.OwnerReference{APIVersion: "spv.no/v1", Kind: "AzureKeyVaultSecret", UID: "uid-2"})
	patch, err := output.DropOwnerReferencesPatch(output.LiveFromSecret(s))
	require.NoError(t, err)
	var operations []map[string]any
	require.NoError(t, json.Unmarshal(patch, &operations))
	assert.Equal(t, []map[string]any{{"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
		{"op": "remove", "path": "/metadata/ownerReferences/2"}, {"op": "remove", "path": "/metadata/ownerReferences/0"}}, operations)
	s.OwnerReferences = s.OwnerReferences[1:2]
	patch, err = output.DropOwnerReferencesPatch(output.LiveFromSecret(s))
	require.NoError(t, err)
	assert.Nil(t, patch)
}

func TestAnObjectThatNobodyHasAnythingInIsEmpty(t *testing.T) {
	empty := func() *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{}}}
	}
	assert.True(t, output.IsEmptyAndUnowned(output.LiveFromSecret(empty())))
	for name, change := range map[string]func(*corev1.Secret){
		"data": func(s *corev1.Secret) { s.Data = map[string][]byte{"x": nil} },
		"a label": func(s *corev1.Secret) {
			s.ManagedFields = append(s.ManagedFields, by("kubectl", `{"f:metadata":{"f:labels":{"f:x":{}}}}`))
		},
		"an owner":       func(s *corev1.Secret) { s.OwnerReferences = []metav1.OwnerReference{{Kind: "Pod"}} },
		"the annotation": func(s *corev1.Secret) { s.Annotations["akv2k8s.io/adopt"] = "true" },
		"a resource":     func(s *corev1.Secret) { s.ManagedFields = append(s.ManagedFields, managed("uid-2", "x")) },
	} {
		s := empty()
		change(s)
		assert.False(t, output.IsEmptyAndUnowned(output.LiveFromSecret(s)), name)
	}
}
