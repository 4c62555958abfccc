//go:build cluster

package e2e

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/cluster/bed"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// vector is a file that openssl or keytool made.
func vector(t *testing.T, name string) []byte {
	t.Helper()
	folder, err := os.Getwd()
	require.NoError(t, err)
	root, err := bed.Root(folder)
	require.NoError(t, err)
	content, err := os.ReadFile(filepath.Join(root, "src", "certificate", "testdata", name))
	require.NoError(t, err)
	return content
}

// certificate puts one into the team's vault.
func (tm team) certificate(name, file string, change func(*keyvault.Certificate)) {
	tm.Helper()
	content := vector(tm.T, file)
	value := string(content)
	if !certificate.IsPEM(content) {
		value = base64.StdEncoding.EncodeToString(content)
	}
	c := keyvault.Certificate{Value: value}
	if change != nil {
		change(&c)
	}
	require.NoError(tm, s.Azure.PutCertificate(tm.Context(), tm.vault, name, c))
}

// want makes or changes a resource; spec is YAML without the vault's name.
func (tm team) want(name, spec string) {
	tm.Helper()
	r := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: name}}
	err := s.Client.Get(tm.Context(), types.NamespacedName{Namespace: tm.namespace, Name: name}, r)
	exists := err == nil
	r.Spec = v2beta1.AzureKeyVaultSecretSpec{}
	require.NoError(tm, yaml.UnmarshalStrict([]byte(spec), &r.Spec), name)
	r.Spec.Vault.Name = tm.vault
	if exists {
		require.NoError(tm, s.Client.Update(tm.Context(), r), name)
		return
	}
	require.NoError(tm, s.Client.Create(tm.Context(), r), name)
}

// holds waits until a Secret has exactly these keys, and gives it.
func (tm team) holds(name string, keys ...string) *corev1.Secret {
	tm.Helper()
	var secret corev1.Secret
	require.NoError(tm, stage.Await(tm.Context(), patience, "Secret "+name, func(ctx context.Context) error {
		secret = corev1.Secret{}
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: tm.namespace, Name: name}, &secret); err != nil {
			return fmt.Errorf("%w; %s", err, tm.reasons(ctx))
		}
		for _, key := range keys {
			if _, ok := secret.Data[key]; !ok {
				return fmt.Errorf("it lacks %s; %s", key, tm.reasons(ctx))
			}
		}
		if len(secret.Data) != len(keys) {
			return fmt.Errorf("it has %d keys; %s", len(secret.Data), tm.reasons(ctx))
		}
		return nil
	}))
	return &secret
}

func (tm team) configMap(name string) *corev1.ConfigMap {
	tm.Helper()
	var m corev1.ConfigMap
	require.NoError(tm, stage.Await(tm.Context(), patience, "ConfigMap "+name, func(ctx context.Context) error {
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: tm.namespace, Name: name}, &m); err != nil {
			return fmt.Errorf("%w; %s", err, tm.reasons(ctx))
		}
		return nil
	}))
	return &m
}

func (tm team) gone(kind, name string) {
	tm.Helper()
	require.NoError(tm, stage.Await(tm.Context(), patience, kind+" "+name+" to go", func(ctx context.Context) error {
		object := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind}}
		err := s.Client.Get(ctx, types.NamespacedName{Namespace: tm.namespace, Name: name}, object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %w; %s", err, tm.reasons(ctx))
	}))
}

// everyObject brings each type of object to each type of Secret that has keys of its own, to a ConfigMap and to a pod.
func everyObject(t *testing.T) {
	tm := newTeam(t)
	tm.certificate("pfx", "openssl3.pfx", nil)
	tm.certificate("pem", "reversed.pem", nil)
	tm.certificate("kept", "P-256.pem", func(c *keyvault.Certificate) { c.NotExportable = true })
	bundle, err := certificate.Parse(vector(t, "P-384.pem"), "")
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(bundle.Key.Public())
	require.NoError(t, err)
	publicKey := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	require.NoError(t, s.Azure.PutKey(t.Context(), tm.vault, "ec", keyvault.Key{PEM: publicKey}))
	docker := `{"auths":{"` + canary + `":{}}}`
	tm.secret("docker", docker)
	tm.secret("login", canary+"-me:pass:word")
	tm.secret("ssh", canary+"-ssh")
	tm.secret("java", base64.StdEncoding.EncodeToString(vector(t, "keytool.pfx")))
	tm.secret("bytes", base64.StdEncoding.EncodeToString([]byte{0xff, 0, 1}))

	object := func(name, kind, output string) string {
		return "{vault: {object: {name: " + name + ", type: " + kind + "}}, output: " + output + "}"
	}
	tm.want("tls", object("pfx", "certificate", "{secret: {name: tls, type: kubernetes.io/tls}, configMap: {name: public, dataKey: ca.crt}}"))
	tm.want("tls-pem", object("pem", "certificate", "{secret: {name: tls-pem, type: kubernetes.io/tls, chainOrder: ensureserverfirst}}"))
	tm.want("tls-java", object("java", "secret", "{secret: {name: tls-java, type: kubernetes.io/tls}}"))
	tm.want("whole", object("pfx", "certificate", "{secret: {name: whole, type: Opaque, dataKey: site.pfx}}"))
	tm.want("leaf", object("kept", "certificate", "{secret: {name: leaf, dataKey: site.crt}}"))
	tm.want("kept", object("kept", "certificate", "{secret: {name: kept, type: kubernetes.io/tls}}"))
	tm.want("modulus", object("pfx", "key", "{secret: {name: modulus, dataKey: modulus}}"))
	tm.want("ec", object("ec", "key", "{secret: {name: ec, dataKey: key.pem, keyFormat: pem}, configMap: {name: ec, dataKey: jwk, keyFormat: jwk}}"))
	tm.want("docker", object("docker", "secret", "{secret: {name: docker, type: kubernetes.io/dockerconfigjson}}"))
	tm.want("login", object("login", "secret", "{secret: {name: login, type: kubernetes.io/basic-auth}}"))
	tm.want("ssh", object("ssh", "secret", "{secret: {name: ssh, type: kubernetes.io/ssh-auth}}"))
	tm.want("bytes", object("bytes", "secret", "{transform: [base64decode], configMap: {name: bytes, dataKey: b}}"))
	tm.want("never", object("pfx", "secret", "{configMap: {name: never, dataKey: b}}"))
	tm.want("several", "{vault: {}, data: [{object: {name: ssh, type: secret}, dataKey: a}, {object: {name: kept, type: certificate}, dataKey: b.crt}], output: {secret: {name: several}}}")

	for name, first := range map[string]string{"tls": "leaf", "tls-pem": "leaf", "tls-java": "leaf"} {
		secret := tm.holds(name, "tls.crt", "tls.key")
		assert.Equal(t, corev1.SecretTypeTLS, secret.Type)
		chain, err := certificate.Parse(append(secret.Data["tls.crt"], secret.Data["tls.key"]...), "")
		require.NoError(t, err)
		assert.Equal(t, first+".example", chain.Certificates[0].Subject.CommonName)
		assert.Len(t, chain.Certificates, 3)
		assert.NotNil(t, chain.Leaf())
	}
	public := tm.configMap("public").Data["ca.crt"]
	assert.Contains(t, public, "BEGIN CERTIFICATE")
	assert.NotContains(t, public, "PRIVATE KEY")
	assert.Equal(t, vector(t, "openssl3.pfx"), tm.holds("whole", "site.pfx").Data["site.pfx"])
	assert.Equal(t, string(certificate.EncodeCertificates(mustParse(t, "P-256.pem").Leaf())), string(tm.holds("leaf", "site.crt").Data["site.crt"]))
	assert.Contains(t, tm.awaitReason("kept", "MalformedObject"), "exportable")
	assert.Len(t, tm.holds("modulus", "modulus").Data["modulus"], 256)
	assert.Equal(t, publicKey, string(tm.holds("ec", "key.pem").Data["key.pem"]))
	assert.Contains(t, tm.configMap("ec").Data["jwk"], `"crv":"P-384"`)
	assert.JSONEq(t, docker, string(tm.holds("docker", ".dockerconfigjson").Data[".dockerconfigjson"]))
	login := tm.holds("login", "username", "password")
	assert.Equal(t, "pass:word", string(login.Data["password"]))
	assert.Equal(t, corev1.SecretTypeBasicAuth, login.Type)
	assert.Equal(t, corev1.SecretTypeSSHAuth, tm.holds("ssh", "ssh-privatekey").Type)
	assert.Equal(t, []byte{0xff, 0, 1}, tm.configMap("bytes").BinaryData["b"])
	assert.Contains(t, tm.awaitReason("never", "MalformedObject"), "never goes into a ConfigMap")
	tm.holds("several", "a", "b.crt")
	assert.NotContains(t, tm.reasons(t.Context()), "PRIVATE KEY")

	p := tm.create(tm.pod("app", map[string]string{
		"CERT": "tls@azurekeyvault", "CRT": "tls@azurekeyvault?tls.crt", "KEY": "tls@azurekeyvault?tls.key", "RAW": "tls@azurekeyvault?raw", "EC": "ec@azurekeyvault?pem",
		"JWK": "ec@azurekeyvault?jwk", "USER_NAME": "login@azurekeyvault?username", "PASSWORD": "login@azurekeyvault?password", "ONE": "several@azurekeyvault?a",
	}, "sh", "-c", `printf '%s|' "${CERT%%E*}" "${KEY%%A*}" "${RAW%%${RAW#MII}}" "${EC%%I*}" "${JWK%%:*}" "${#USER_NAME}" "$PASSWORD" "${#ONE}"; [ "$CERT" = "$CRT" ] && echo same`))
	code, log := tm.ended(p.Name)
	assert.Zero(t, code, log)
	assert.Equal(t, fmt.Sprintf("-----B|-----BEGIN RS|MII|-----BEG|{\"kid\"|%d|pass:word|%d|same\n", len(canary+"-me"), len(canary+"-ssh")), log)
	p = tm.create(tm.pod("wrong", map[string]string{"KEY": "kept@azurekeyvault?tls.key", "ENV_INJECTOR_RETRIES": "0"}, "echo", "started"))
	code, log = tm.ended(p.Name)
	assert.EqualValues(t, 65, code)
	assert.Contains(t, log, "exportable")
	assert.False(t, strings.Contains(log, "started"))
}

func mustParse(t *testing.T, name string) certificate.Bundle {
	t.Helper()
	bundle, err := certificate.Parse(vector(t, name), "")
	require.NoError(t, err)
	return bundle
}

// outputsLive changes what a resource wants: the outputs follow, and nothing of others is lost.
func outputsLive(t *testing.T) {
	tm := newTeam(t)
	tm.secret("user", canary+"-user")
	spec := func(object, output string) string {
		return "{vault: {object: {name: " + object + ", type: secret}}, output: {secret: " + output + "}}"
	}
	tm.want("elder", spec("db", "{name: shared, dataKey: password}"))
	tm.holds("shared", "password")
	// Kubernetes counts age in whole seconds. Of two resources of one second the uid would decide which is older.
	time.Sleep(1100 * time.Millisecond)
	tm.want("younger", spec("user", "{name: shared, dataKey: user}"))
	assert.Len(t, tm.holds("shared", "password", "user").OwnerReferences, 2)

	// Both want one key: the elder's stays, and the younger says so.
	tm.want("younger", spec("user", "{name: shared, dataKey: password}"))
	assert.Contains(t, tm.awaitReason("younger", "TargetConflict"), `"elder"`)
	assert.Equal(t, canary+"-db", string(tm.holds("shared", "password").Data["password"]))

	// The elder goes, and its key with it: the younger gets it.
	require.NoError(t, s.Client.Delete(t.Context(), &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: "elder"}}))
	tm.awaitReason("younger", "Synced")
	assert.Equal(t, canary+"-user", string(tm.holds("shared", "password").Data["password"]))

	// A deleted resource leaves no key in what others share.
	tm.want("third", spec("db", "{name: shared, dataKey: third}"))
	tm.holds("shared", "password", "third")
	require.NoError(t, s.Client.Delete(t.Context(), &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: "third"}}))
	tm.holds("shared", "password")

	// Renamed, of another type, immutable.
	tm.want("younger", spec("user", "{name: renamed, dataKey: password, metadata: {labels: {a: b}, annotations: {c: d}}}"))
	renamed := tm.holds("renamed", "password")
	assert.Equal(t, "b", renamed.Labels["a"])
	assert.Equal(t, "d", renamed.Annotations["c"])
	tm.gone("Secret", "shared")
	tm.want("younger", spec("user", "{name: renamed, type: kubernetes.io/ssh-auth}"))
	retyped := tm.holds("renamed", "ssh-privatekey")
	assert.Equal(t, corev1.SecretTypeSSHAuth, retyped.Type)
	assert.NotContains(t, retyped.Labels, "a")
	tm.want("younger", spec("user", "{name: renamed, dataKey: password, immutable: true}"))
	fixed := tm.holds("renamed", "password")
	require.NotNil(t, fixed.Immutable)
	assert.True(t, *fixed.Immutable)
	tm.awaitReason("younger", "Synced")
	require.NoError(t, s.Azure.Put(t.Context(), tm.vault, "user", canary+"-user-2"))
	tm.awaitValue("renamed", canary+"-user-2", patience)

	// An output that is no longer wanted goes, the other one stays.
	const text = "not secret at all"
	tm.secret("text", text)
	tm.want("younger", "{vault: {object: {name: text, type: secret}}, output: {configMap: {name: public, dataKey: user}}}")
	assert.Equal(t, text, tm.configMap("public").Data["user"])
	tm.gone("Secret", "renamed")
	m := tm.configMap("public")
	m.Data["user"] = "edited"
	require.NoError(t, s.Client.Update(t.Context(), m))
	require.NoError(t, stage.Await(t.Context(), repairWithin, "the repair of a ConfigMap", func(context.Context) error {
		if got := tm.configMap("public").Data["user"]; got != text {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	}))
}

// searches bring what is in the vault, also to a pod, and follow what comes and goes there.
func searches(t *testing.T) {
	tm := newTeam(t)
	for i := range 30 { // more than a page of the vault's list
		tm.secret(fmt.Sprintf("shop-%02d", i), fmt.Sprintf("%s-%02d", canary, i))
	}
	require.NoError(t, s.Azure.PutSecret(t.Context(), tm.vault, "tagged", keyvault.Secret{Value: " " + canary + "-tagged ", Tags: map[string]string{"app": "shop"}}))
	tm.certificate("shop-site", "openssl3.pfx", nil)
	tm.want("shop", `{vault: {}, dataFrom: [{match: {prefix: shop-}, rewrite: {source: "^shop-(.*)$", target: "n${1}"}}, {match: {tags: {app: shop}}, transform: [trim]}],
		data: [{object: {name: db, type: secret}, dataKey: n07}], output: {secret: {name: shop}}}`)
	keys := []string{"tagged"}
	for i := range 30 {
		keys = append(keys, fmt.Sprintf("n%02d", i))
	}
	found := tm.holds("shop", keys...)
	assert.Equal(t, canary+"-tagged", string(found.Data["tagged"]))
	assert.Equal(t, canary+"-29", string(found.Data["n29"]))
	assert.Equal(t, canary+"-db", string(found.Data["n07"]), "what is named has the say")
	p := tm.create(tm.pod("app", map[string]string{"ONE": "shop@azurekeyvault?n12"}, "sh", "-c", `printf '%s' "${#ONE}"`))
	code, log := tm.ended(p.Name)
	assert.Zero(t, code, log)
	assert.Equal(t, fmt.Sprint(len(canary)+3), log)

	require.NoError(t, s.Azure.Act(t.Context(), tm.vault, "shop-00", "delete"))
	tm.secret("shop-30", canary+"-30")
	tm.holds("shop", append(keys[2:], "tagged", "n30")...)
	tm.want("nothing", `{vault: {}, dataFrom: [{match: {prefix: nothing-}}], output: {secret: {name: nothing}}}`)
	assert.Contains(t, tm.awaitReason("nothing", "ObjectNotFound"), "spec.dataFrom[0].match")
}

// badInput comes after good: the condition and an event say what is wrong, the last good Secret stays, and what is
// mended is followed.
func badInput(t *testing.T) {
	tm := newTeam(t)
	java := base64.StdEncoding.EncodeToString(vector(t, "keytool.pfx"))
	half, locked := base64.StdEncoding.EncodeToString(vector(t, "keytool.pfx")[:1000]), base64.StdEncoding.EncodeToString(vector(t, "password.pfx"))
	object := func(kind, output string) string {
		return "{vault: {object: {name: NAME, type: " + kind + "}}, output: {" + output + "}}"
	}
	many := object("multi-key-value-secret, contentType: application/x-json", "secret: {name: NAME}")
	tls := object("secret", "secret: {name: NAME, type: kubernetes.io/tls}")
	for name, c := range map[string]struct{ spec, good, bad, reason, says string }{
		"array":    {many, `{"a": "` + canary + `"}`, `["` + canary + `"]`, "MalformedObject", "not a JSON object"},
		"levels":   {many, `{"a": "` + canary + `"}`, `{"a": ` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`, "MalformedObject", "not a JSON object"},
		"key":      {many, `{"a": "` + canary + `"}`, `{"a b": "` + canary + `"}`, "MalformedObject", "key of a Secret"},
		"base64":   {object("secret", "transform: [base64decode], secret: {name: NAME, dataKey: a}"), "YQ==", canary + "!", "MalformedObject", "base64"},
		"docker":   {object("secret", "secret: {name: NAME, type: kubernetes.io/dockerconfigjson}"), `{"auths": {}}`, canary, "MalformedObject", "not JSON"},
		"login":    {object("secret", "secret: {name: NAME, type: kubernetes.io/basic-auth}"), "a:" + canary, canary, "MalformedObject", "NAME:PASSWORD"},
		"garbage":  {tls, java, canary, "MalformedObject", "neither PFX nor PEM"},
		"half":     {tls, java, half, "MalformedObject", "neither PFX nor PEM"},
		"locked":   {tls, java, locked, "MalformedObject", "password"},
		"private":  {object("secret", "configMap: {name: NAME, dataKey: a}"), "public", java, "MalformedObject", "never goes into a ConfigMap"},
		"nodocker": {object("secret", "secret: {name: NAME, type: kubernetes.io/dockercfg}"), "{}", "{", "MalformedObject", "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tm := team{t, tm.namespace, tm.vault}
			tm.secret(name, c.good)
			tm.want(name, strings.ReplaceAll(c.spec, "NAME", name))
			tm.awaitReason(name, "Synced")
			before := tm.output(name)
			require.NotEmpty(t, before)
			tm.secret(name, c.bad)
			says := tm.awaitReason(name, c.reason)
			assert.Contains(t, says, c.says)
			assert.NotContains(t, says, canary)
			assert.Equal(t, before, tm.output(name), "the last good one stays")
			assert.Equal(t, "True", tm.conditions(name)["Stale"])
			tm.secret(name, c.good)
			tm.awaitReason(name, "Synced")
		})
	}
	t.Run("more than a Secret holds", func(t *testing.T) {
		t.Parallel()
		tm := team{t, tm.namespace, tm.vault}
		tm.secret("big-00", canary)
		tm.want("big", "{vault: {}, dataFrom: [{match: {prefix: big-}}], output: {secret: {name: big}}}")
		tm.holds("big", "big-00")
		all := map[string]string{}
		for i := range 50 {
			all[fmt.Sprintf("big-%02d", i)] = canary + strings.Repeat("x", 24<<10)
		}
		require.NoError(t, s.Azure.Vault(t.Context(), tm.vault, all))
		says := tm.awaitReason("big", "MalformedObject")
		assert.Contains(t, says, "1 MiB")
		assert.NotContains(t, says, canary)
		tm.holds("big", "big-00")
	})
}

// output are the data of the Secret and the ConfigMap of a name.
func (tm team) output(name string) map[string][]byte {
	tm.Helper()
	all := map[string][]byte{}
	var secret corev1.Secret
	if err := s.Client.Get(tm.Context(), types.NamespacedName{Namespace: tm.namespace, Name: name}, &secret); err == nil {
		maps.Copy(all, secret.Data)
	}
	var m corev1.ConfigMap
	if err := s.Client.Get(tm.Context(), types.NamespacedName{Namespace: tm.namespace, Name: name}, &m); err == nil {
		for key, value := range m.Data {
			all[key] = []byte(value)
		}
	}
	return all
}
