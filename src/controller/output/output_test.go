package output_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

func owner() output.Owner {
	return output.Owner{
		Name: "db", Namespace: "shop", UID: "uid-1", Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"note": "b"},
	}
}

func desired(o output.Owner, out recipe.Output, data map[string]keyvault.Value) output.Desired {
	d, err := output.NewDesired(o, out, data)
	if err != nil {
		panic(err)
	}
	return d
}

func newDesired(o output.Owner) output.Desired {
	return desired(o, recipe.Output{Kind: recipe.OutputSecret, Name: "db-secret", DataKey: "password"},
		map[string]keyvault.Value{"password": keyvault.NewValue([]byte("v"))})
}

// applied returns the live Secret after the desired one was applied.
func applied() *corev1.Secret {
	block, controller := true, false
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: "db-secret", Namespace: "shop",
			Labels:      map[string]string{"team": "a", "akv2k8s.io/managed": "true"},
			Annotations: map[string]string{"note": "b"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "spv.no/v2beta1", Kind: "AzureKeyVaultSecret", Name: "db", UID: "uid-1",
				Controller: &controller, BlockOwnerDeletion: &block}},
			ManagedFields: []metav1.ManagedFieldsEntry{managed("uid-1", "password")},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{"password": []byte("v")},
	}
}

func managed(uid, key string) metav1.ManagedFieldsEntry {
	fields := `{"f:data":{"f:` + key + `":{}},"f:metadata":{"f:annotations":{"f:note":{}},"f:labels":{"f:team":{},"f:akv2k8s.io/managed":{}},` +
		`"f:ownerReferences":{"k:{\"uid\":\"` + uid + `\"}":{}}},"f:type":{}}`
	return metav1.ManagedFieldsEntry{Manager: "akv2k8s-" + uid, Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1",
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)}
}

func TestDesiredSecret(t *testing.T) {
	o := owner()
	o.Labels["app.kubernetes.io/managed-by"] = "Helm"
	for _, key := range []string{"kubectl.kubernetes.io/last-applied-configuration", "meta.helm.sh/release-name",
		"argocd.argoproj.io/tracking-id", "kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name"} {
		o.Annotations[key] = "x"
	}
	s := newDesired(o)
	assert.Equal(t, map[string]string{"team": "a", "akv2k8s.io/managed": "true"}, s.Labels, "tracking labels stay behind")
	assert.Equal(t, map[string]string{"note": "b"}, s.Annotations, "tracking annotations stay behind")
	assert.Equal(t, corev1.SecretTypeOpaque, s.Type)
	assert.Equal(t, map[string][]byte{"password": []byte("v")}, s.Data)
	sent := s.ApplyConfig("uid-of-it").Body.(*corev1ac.SecretApplyConfiguration)
	assert.EqualValues(t, "uid-of-it", *sent.UID)
	assert.Nil(t, sent.Immutable)
	require.Len(t, sent.OwnerReferences, 1)
	ref := sent.OwnerReferences[0]
	assert.Equal(t, "spv.no/v2beta1", *ref.APIVersion)
	assert.False(t, *ref.Controller)
	assert.True(t, *ref.BlockOwnerDeletion)
	assert.Equal(t, "akv2k8s-uid-1", o.FieldManager())
}

func TestInSync(t *testing.T) {
	require.True(t, output.IsInSync(output.LiveFromSecret(applied()), newDesired(owner())), "what was applied is in sync")
	foreign := applied()
	foreign.Labels["mine"], foreign.Data["extra"] = "x", []byte("y")
	assert.True(t, output.IsInSync(output.LiveFromSecret(foreign), newDesired(owner())), "keys of others are none of our business")

	cases := map[string]func(*corev1.Secret){
		"a value was edited":               func(s *corev1.Secret) { s.Data["password"] = []byte("w") },
		"a key was removed":                func(s *corev1.Secret) { delete(s.Data, "password") },
		"a label was edited":               func(s *corev1.Secret) { s.Labels["team"] = "b" },
		"our label was removed":            func(s *corev1.Secret) { delete(s.Labels, "akv2k8s.io/managed") },
		"an annotation was removed":        func(s *corev1.Secret) { delete(s.Annotations, "note") },
		"the owner reference is missing":   func(s *corev1.Secret) { s.OwnerReferences = nil },
		"the owner reference is old":       func(s *corev1.Secret) { s.OwnerReferences[0].APIVersion = "spv.no/v1" },
		"the type is another":              func(s *corev1.Secret) { s.Type = corev1.SecretTypeTLS },
		"nobody applied it":                func(s *corev1.Secret) { s.ManagedFields = nil },
		"we own a key we no longer want":   func(s *corev1.Secret) { s.ManagedFields[0] = managed("uid-1", "old-key") },
		"managed fields can't be read":     func(s *corev1.Secret) { s.ManagedFields[0].FieldsV1 = metav1.NewFieldsV1("{") },
		"our entry is an update, no apply": func(s *corev1.Secret) { s.ManagedFields[0].Operation = metav1.ManagedFieldsOperationUpdate },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			s := applied()
			change(s)
			assert.False(t, output.IsInSync(output.LiveFromSecret(s), newDesired(owner())))
		})
	}
}

func TestWritable(t *testing.T) {
	cases := map[string]struct {
		change func(*corev1.Secret)
		says   string
	}{
		"our own":                {func(*corev1.Secret) {}, ""},
		"another resource's":     {func(s *corev1.Secret) { s.OwnerReferences[0].UID = "uid-2" }, ""},
		"an older API version's": {func(s *corev1.Secret) { s.OwnerReferences[0].APIVersion = "spv.no/v1alpha1" }, ""},
		"nobody's":               {func(s *corev1.Secret) { s.OwnerReferences, s.ManagedFields = nil, nil }, "akv2k8s.io/adopt=password"},
		"nobody's, with other keys": {func(s *corev1.Secret) {
			s.OwnerReferences, s.ManagedFields, s.Data = nil, nil, map[string][]byte{"other": nil}
		}, "akv2k8s.io/adopt=true"},
		"somebody else's":                   {func(s *corev1.Secret) { s.OwnerReferences[0].Kind, s.ManagedFields = "Certificate", nil }, "already exists"},
		"a group that only looks like ours": {func(s *corev1.Secret) { s.OwnerReferences[0].APIVersion, s.ManagedFields = "spv.no.evil/v1", nil }, "already exists"},
		"nobody's, handed over": {func(s *corev1.Secret) {
			s.OwnerReferences, s.ManagedFields, s.Annotations["akv2k8s.io/adopt"] = nil, nil, "true"
		}, ""},
		"adoption refused aloud": {func(s *corev1.Secret) {
			s.OwnerReferences, s.ManagedFields, s.Annotations["akv2k8s.io/adopt"] = nil, nil, "false"
		}, "already exists"},
		"ours, robbed of its owner reference": {func(s *corev1.Secret) { s.OwnerReferences = nil }, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := applied()
			c.change(s)
			err := output.CheckWritable(output.LiveFromSecret(s), newDesired(owner()))
			if c.says == "" {
				assert.NoError(t, err)
				return
			}
			assert.Equal(t, fault.Conflict, fault.KindOf(err))
			assert.ErrorContains(t, err, c.says)
		})
	}
}

func TestClaimsAreTheOtherManagersOfOurKeys(t *testing.T) {
	s := applied()
	s.ManagedFields = append(s.ManagedFields, managed("uid-3", "password"), managed("uid-2", "password"), managed("uid-4", "other"),
		metav1.ManagedFieldsEntry{Manager: "kubectl-edit", Operation: metav1.ManagedFieldsOperationUpdate,
			FieldsV1: metav1.NewFieldsV1(`{"f:data":{"f:password":{}}}`)})
	live := output.LiveFromSecret(s)
	assert.Equal(t, map[string][]string{"uid-2": {"password"}, "uid-3": {"password"}}, output.KeysOfOtherOwners(live, newDesired(owner())))
	assert.Equal(t, []string{"uid-2", "uid-3", "uid-4"}, output.OtherOwnerUIDs(live, owner()))
	assert.True(t, output.HasFieldsOf(live, "uid-4"))
	assert.False(t, output.HasFieldsOf(live, "uid-5"))
	assert.Empty(t, newDesired(owner()).WithoutKeys([]string{"password"}).Data)
}

func TestOwnerNames(t *testing.T) {
	refs := []metav1.OwnerReference{{APIVersion: "spv.no/v2beta1", Kind: "AzureKeyVaultSecret", Name: "a"},
		{APIVersion: "apps/v1", Kind: "Deployment", Name: "d"}, {APIVersion: "spv.no/v1", Kind: "AzureKeyVaultSecret", Name: "b"}}
	assert.Equal(t, []string{"a", "b"}, output.OwnerNames(refs))
}

func TestFixedIsWhatCannotBeChangedInPlace(t *testing.T) {
	yes := true
	for name, c := range map[string]struct {
		change func(*corev1.Secret)
		wanted bool
		says   string
	}{
		"nothing":                         {func(*corev1.Secret) {}, false, ""},
		"the type":                        {func(s *corev1.Secret) { s.Type = corev1.SecretTypeTLS }, false, "kubernetes.io/tls but needs type Opaque"},
		"immutable, and another value":    {func(s *corev1.Secret) { s.Immutable, s.Data["password"] = &yes, []byte("w") }, true, "immutable"},
		"immutable, and right":            {func(s *corev1.Secret) { s.Immutable = &yes }, true, ""},
		"immutable, and no longer wanted": {func(s *corev1.Secret) { s.Immutable = &yes }, false, "immutable"},
		"immutable, with a key too many": {func(s *corev1.Secret) {
			s.Immutable, s.ManagedFields[0] = &yes, managed("uid-1", "old-key")
		}, true, "immutable"},
	} {
		t.Run(name, func(t *testing.T) {
			s, d := applied(), newDesired(owner())
			c.change(s)
			d.Immutable = c.wanted
			reason := output.RecreateReason(output.LiveFromSecret(s), d)
			assert.Contains(t, reason, c.says)
			assert.Equal(t, c.says == "", reason == "")
		})
	}
}

func TestDesiredConfigMapKeepsBytesThatAreNoText(t *testing.T) {
	d := desired(owner(), recipe.Output{Kind: recipe.OutputConfigMap, Name: "c"},
		map[string]keyvault.Value{"text": keyvault.NewValue([]byte("v")), "bytes": keyvault.NewValue([]byte{0xff})})
	sent := d.ApplyConfig("").Body.(*corev1ac.ConfigMapApplyConfiguration)
	assert.Nil(t, sent.UID)
	assert.Equal(t, map[string]string{"text": "v"}, sent.Data)
	assert.Equal(t, map[string][]byte{"bytes": {0xff}}, sent.BinaryData)
	block, controller := true, false
	fields := `{"f:data":{"f:text":{}},"f:binaryData":{"f:bytes":{}},"f:metadata":{"f:annotations":{"f:note":{}},"f:labels":{"f:team":{},"f:akv2k8s.io/managed":{}}}}`
	live := output.LiveFromConfigMap(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c", Labels: d.Labels, Annotations: d.Annotations,
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "spv.no/v2beta1", Kind: "AzureKeyVaultSecret", UID: "uid-1", Controller: &controller, BlockOwnerDeletion: &block}},
		ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "akv2k8s-uid-1", Operation: metav1.ManagedFieldsOperationApply, FieldsV1: metav1.NewFieldsV1(fields)}}},
		Data: sent.Data, BinaryData: sent.BinaryData})
	assert.True(t, output.IsInSync(live, d))
	assert.True(t, output.HasOnlyDataOf(live, owner()))
	assert.False(t, live.IsTypedSecret())
	live.Data["foreign"] = []byte("x")
	assert.False(t, output.HasOnlyDataOf(live, owner()))
	nothing := output.EmptyApplyConfig(live)
	assert.Empty(t, nothing.ResourceVersion())
	assert.Nil(t, nothing.Body.(*corev1ac.ConfigMapApplyConfiguration).Data)
}

func TestOutputMetadataIsAddedToTheResources(t *testing.T) {
	d := desired(owner(), recipe.Output{Kind: recipe.OutputSecret, Name: "s", Type: "kubernetes.io/tls", Immutable: true,
		Labels:      map[string]string{"team": "of the output", "akv2k8s.io/managed": "false"},
		Annotations: map[string]string{"meta.helm.sh/release-name": "x", "own": "1"}}, nil)
	assert.Equal(t, map[string]string{"team": "of the output", "akv2k8s.io/managed": "true"}, d.Labels)
	assert.Equal(t, map[string]string{"note": "b", "own": "1"}, d.Annotations)
	sent := d.ApplyConfig("").Body.(*corev1ac.SecretApplyConfiguration)
	assert.True(t, *sent.Immutable)
	assert.Equal(t, corev1.SecretTypeTLS, *sent.Type)
}

func TestChanges(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*corev1.Secret)
		want   bool
	}{
		"nothing":                {func(*corev1.Secret) {}, false},
		"a label":                {func(s *corev1.Secret) { s.Labels["team"] = "b" }, false},
		"nobody applied it yet":  {func(s *corev1.Secret) { s.ManagedFields = nil }, false},
		"a value":                {func(s *corev1.Secret) { s.Data["password"] = []byte("w") }, true},
		"a key no longer wanted": {func(s *corev1.Secret) { s.ManagedFields[0] = managed("uid-1", "old-key") }, true},
	} {
		s := applied()
		c.change(s)
		assert.Equal(t, c.want, output.IsDataChanged(output.LiveFromSecret(s), newDesired(owner())), name)
	}
}

// legacy adds the managedFields entry of akv2k8s 1.8.
func legacy(s *corev1.Secret, fields string) *corev1.Secret {
	s.ManagedFields = append(s.ManagedFields, metav1.ManagedFieldsEntry{Manager: "azure-keyvault-controller", Operation: metav1.ManagedFieldsOperationUpdate,
		FieldsV1: metav1.NewFieldsV1(fields)})
	s.ResourceVersion = "7"
	return s
}

func TestSucceedTakesWhatThePredecessorAloneOwned(t *testing.T) {
	assert.False(t, output.HasV1Fields(output.LiveFromSecret(applied())))
	s := legacy(applied(), `{"f:data":{".":{},"f:password":{},"f:orphan":{}},"f:metadata":{"f:labels":{"f:team":{},"f:a/b~c":{}},"f:annotations":{"f:x":{}},`+
		`"f:ownerReferences":{"k:{\"uid\":\"uid-1\"}":{}}},"f:type":{}}`)
	s.ManagedFields = append(s.ManagedFields, metav1.ManagedFieldsEntry{Manager: "somebody", Operation: metav1.ManagedFieldsOperationUpdate,
		FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{"f:x":{}}}}`)}, metav1.ManagedFieldsEntry{Manager: "nothing"})
	s.Data["orphan"] = []byte("v")
	live := output.LiveFromSecret(s)
	assert.True(t, output.HasV1Fields(live))
	assert.True(t, output.HasOnlyDataOf(live, owner()), "the predecessor wrote for the owners")
	patch, err := output.DropV1OwnershipPatch(live)
	require.NoError(t, err)
	assert.JSONEq(t, `[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"remove","path":"/metadata/managedFields/1"},
		{"op":"remove","path":"/data/orphan"},{"op":"remove","path":"/metadata/labels/a~1b~0c"}]`, string(patch))
	_, err = output.DropV1OwnershipPatch(output.LiveFromSecret(legacy(applied(), "{")))
	assert.Error(t, err)
}

func TestVersionIsTheAnswers(t *testing.T) {
	c := newDesired(owner()).ApplyConfig("")
	assert.Empty(t, c.ResourceVersion())
	c.Body.(*corev1ac.SecretApplyConfiguration).WithResourceVersion("8")
	assert.Equal(t, "8", c.ResourceVersion())
	assert.Equal(t, []output.Kind{output.Secret, output.ConfigMap}, output.Kinds())
}
