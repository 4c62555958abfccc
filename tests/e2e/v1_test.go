//go:build cluster && !nov1compat

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/v1compat/v1test"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// v1Scenarios are the scenarios of pods that akv2k8s 1.8 injected.
func v1Scenarios() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"pods of akv2k8s 1.8 are told to be recreated":      v1PodsMustBeRecreated,
		"pods of akv2k8s 1.8 are served for the transition": v1PodsAreServed,
	}
}

// v1Installation is an installation that came after pods of akv2k8s 1.8, and a team that has some.
type v1Installation struct {
	team
	// system is the namespace of the installation.
	system    string
	authority v1test.Authority
}

const v1ReleaseName = "akv2k8s-v1"

func (o v1Installation) host() string { return v1ReleaseName + "-envinjector." + o.system + ".svc" }

// newV1Installation makes what akv2k8s 1.8 leaves: its CA, and a namespace with injection.
func newV1Installation(t *testing.T) v1Installation {
	t.Helper()
	tm := newTeam(t)
	o := v1Installation{team: team{t, "v1-" + tm.namespace, tm.vault}, system: "system-" + tm.namespace}
	var err error
	o.authority, err = v1test.NewAuthority(time.Now())
	require.NoError(t, err)
	require.NoError(t, s.Namespace(t.Context(), o.namespace, map[string]string{"azure-key-vault-env-injection": "v1", "pod-security.kubernetes.io/enforce": "restricted"}))
	require.NoError(t, s.Namespace(t.Context(), o.system, nil))
	require.NoError(t, s.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.system, Name: v1ReleaseName + "-envinjector-ca"},
		Type: corev1.SecretTypeTLS, Data: o.authority.CASecretData()}))
	o.resource("db", "db", "")
	t.Cleanup(o.explain)
	return o
}

// explain prints what the pods of a test that failed said.
func (o v1Installation) explain() {
	if !o.Failed() {
		return
	}
	for _, namespace := range []string{o.namespace, o.system} {
		logs, err := s.Logs(context.WithoutCancel(o.Context()), namespace)
		o.Log(err)
		for name, log := range logs {
			o.Logf("%s: %s", name, log)
		}
	}
}

// install installs the successor, or upgrades it.
func (o v1Installation) install(legacyAuthService bool) {
	o.Helper()
	require.NoError(o, s.Install(o.Context(), stage.Release{Name: v1ReleaseName, Namespace: o.system, Values: map[string]any{
		"controller": map[string]any{"enabled": false}, "global": map[string]any{"metrics": map[string]any{"enabled": true}},
		"env_injector": map[string]any{"replicaCount": 1, "podDisruptionBudget": map[string]any{"enabled": false},
			"namespaceLabelSelector": map[string]any{"label": map[string]any{"value": "v1"}},
			"legacyAuthService":      map[string]any{"enabled": legacyAuthService, "namespaces": []any{o.namespace}, "upgradeTime": "0s"}}}}))
	require.NoError(o, s.Settled(o.Context(), o.system))
	// The pod is ready some time before kube-proxy forwards the Service's address to it.
	require.NoError(o, stage.Await(o.Context(), patience, "the webhook to be reachable", func(ctx context.Context) error {
		probe := o.pod("probe", map[string]string{"DB": "db@azurekeyvault"}, "true")
		return s.Client.Create(ctx, probe, client.DryRunAll)
	}))
}

// workload makes the Secret that akv2k8s 1.8 made for a workload.
func (o v1Installation) workload(name string) map[string][]byte {
	o.Helper()
	data, err := o.authority.ClientSecretData(time.Now())
	require.NoError(o, err)
	require.NoError(o, s.Client.Create(o.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "akv2k8s-" + name},
		Type: corev1.SecretTypeTLS, Data: data}))
	return data
}

// injected describes a pod as akv2k8s 1.8 made it. It waits for the auth service, because its first start was long
// ago.
func (o v1Installation) injected(name string) *corev1.Pod {
	p := o.pod(name, map[string]string{"DB": "db@azurekeyvault", "TEST_CA": s.Azure.CA, "TEST_SECRET_URL": "https://" + o.vault + ".vault.azure.net/secrets/db",
		"ENV_INJECTOR_USE_AUTH_SERVICE": "true", "ENV_INJECTOR_POD_NAMESPACE": o.namespace, "ENV_INJECTOR_POD_NAME": name, "ENV_INJECTOR_CLIENT_CERT_DIR": "/var/client-cert/",
		"ENV_INJECTOR_AUTH_SERVICE": "https://" + o.host() + ":9443", "ENV_INJECTOR_AUTH_SERVICE_VALIDATION": "http://" + o.host() + ":80",
		"ENV_INJECTOR_AUTH_SERVICE_SECRET": "akv2k8s-" + name}, "/azure-keyvault/azure-keyvault-env")
	p.Spec.Volumes = []corev1.Volume{
		{Name: "azure-keyvault-env", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
		{Name: "akv2k8s-client-cert", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "akv2k8s-" + name}}}}
	app := &p.Spec.Containers[0]
	app.Args = []string{"sh", "-c", "echo got ${#DB} characters"}
	app.VolumeMounts = []corev1.VolumeMount{{Name: "azure-keyvault-env", MountPath: "/azure-keyvault/", ReadOnly: true}, {Name: "akv2k8s-client-cert", MountPath: "/var/client-cert/", ReadOnly: true}}
	brings, waits := *app.DeepCopy(), *app.DeepCopy()
	brings.Name, brings.Image, brings.Args, brings.Env = "copy-azurekeyvault-env", s.Image("v1-wrapper"), nil, nil
	brings.Command = []string{"sh", "-c", "cp /usr/local/bin/azure-keyvault-env /azure-keyvault/"}
	brings.VolumeMounts = []corev1.VolumeMount{{Name: "azure-keyvault-env", MountPath: "/azure-keyvault/"}}
	waits.Name, waits.Args, waits.Env, waits.VolumeMounts = "waits", nil, nil, nil
	waits.Command = []string{"sh", "-c", "until wget -q -O /dev/null http://" + o.host() + "/readyz; do sleep 1; done"}
	p.Spec.InitContainers = []corev1.Container{brings, waits}
	return p
}

// set changes variables of the pod's container.
func set(p *corev1.Pod, variables map[string]string) *corev1.Pod {
	for i, v := range p.Spec.Containers[0].Env {
		if value, ok := variables[v.Name]; ok {
			p.Spec.Containers[0].Env[i].Value = value
		}
	}
	return p
}

// v1PodsAreServed is the transition: pods of akv2k8s 1.8 start again as they did, and nobody else gets
// anything by it.
func v1PodsAreServed(t *testing.T) {
	o := newV1Installation(t)
	for _, name := range []string{"app", "thief", "bare", "drifted", "younger"} {
		o.workload(name)
	}
	got := fmt.Sprintf("got %d characters\n", len(canary+"-db"))
	// Before the upgrade:
	app := o.injected("app")
	app.Spec.RestartPolicy = corev1.RestartPolicyAlways
	app.Spec.Containers[0].Args[2] += "; sleep 10"
	o.create(app)
	o.create(set(o.injected("thief"), map[string]string{"ENV_INJECTOR_POD_NAME": "app", "ENV_INJECTOR_AUTH_SERVICE_SECRET": "akv2k8s-app"}))
	bare := o.injected("bare")
	bare.Spec.Volumes[1].Name, bare.Spec.Containers[0].VolumeMounts[1].Name = "client-cert", "client-cert"
	o.create(bare)
	other, err := v1test.NewAuthority(time.Now())
	require.NoError(t, err)
	o.change("drifted", func(secret *corev1.Secret) { secret.Data["ca.crt"] = other.Cert })
	o.create(o.injected("drifted"))
	time.Sleep(time.Second) // times of the API server are of whole seconds

	o.install(true)
	t.Cleanup(func() {
		_, err := s.Helm(context.WithoutCancel(t.Context()), "uninstall", v1ReleaseName, "--namespace", o.system, "--wait")
		assert.NoError(t, err)
	})
	younger := o.injected("younger")
	younger.Labels = map[string]string{"akv2k8s.io/inject": "false"} // else it would be refused when it is created
	o.create(younger)
	o.create(o.pod("new", map[string]string{"DB": "db@azurekeyvault"}, "sh", "-c", "echo got ${#DB} characters"))

	o.awaitLog("app", got)
	code, log := o.ended("new")
	assert.Zero(t, code)
	assert.Equal(t, got, log, "our own protocol is served on the same port")
	for name, says := range map[string]string{"thief": "token: 403", "bare": "validation: 403", "younger": "validation: 403"} {
		code, log := o.ended(name)
		assert.EqualValues(t, 1, code, name)
		assert.Contains(t, log, says, name)
	}
	o.told("app", "until it is recreated")
	o.told("younger", "recreate the pod")
	o.brought("drifted", o.authority.Cert)
	_, log = o.ended("drifted")
	assert.Equal(t, got, log)
	o.nothingButTheCA()
	o.withoutTheCA()

	// Over: the pod's container starts again, in vain, until the pod is made anew.
	o.install(false)
	o.awaitLog("app", "validation: 410")
	require.NoError(t, s.Client.Delete(t.Context(), app, client.GracePeriodSeconds(0)))
	require.NoError(t, stage.Await(t.Context(), patience, "the end of the pod", func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(app), &corev1.Pod{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is still there: %w", err)
		}
		return nil
	}))
	// Workloads give each pod another name too. The kubelet may still be cleaning up after the deleted pod.
	o.create(o.pod("again", map[string]string{"DB": "db@azurekeyvault"}, "sh", "-c", "echo got ${#DB} characters"))
	code, log = o.ended("again")
	assert.Zero(t, code)
	assert.Equal(t, got, log)
}

func (o v1Installation) change(name string, change func(*corev1.Secret)) {
	o.Helper()
	var secret corev1.Secret
	require.NoError(o, s.Client.Get(o.Context(), types.NamespacedName{Namespace: o.namespace, Name: "akv2k8s-" + name}, &secret))
	change(&secret)
	require.NoError(o, s.Client.Update(o.Context(), &secret))
}

// brought waits until the CA is in the Secret, and has the kubelet look at it now instead of within two minutes.
func (o v1Installation) brought(name string, ca []byte) {
	o.Helper()
	require.NoError(o, stage.Await(o.Context(), patience, "the CA to be written", func(ctx context.Context) error {
		var secret corev1.Secret
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: o.namespace, Name: "akv2k8s-" + name}, &secret); err != nil {
			return err
		}
		if string(secret.Data["ca.crt"]) != string(ca) {
			return fmt.Errorf("it is another one")
		}
		return nil
	}))
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: name}}
	require.NoError(o, s.Client.Patch(o.Context(), pod, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"look":"now"}}}`))))
}

// told waits for the event of a pod.
func (o v1Installation) told(pod, says string) {
	o.Helper()
	require.NoError(o, stage.Await(o.Context(), patience, "the event of pod "+pod, func(ctx context.Context) error {
		var events eventsv1.EventList
		if err := s.Client.List(ctx, &events, client.InNamespace(o.namespace)); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == "RecreatePod" && e.Type == "Warning" && e.Regarding.Name == pod && strings.Contains(e.Note, says) {
				return nil
			}
		}
		return fmt.Errorf("there are %d events", len(events.Items))
	}))
}

// nothingButTheCA tries, as the env-injector's ServiceAccount, what it must not be able to do to Secrets.
func (o v1Installation) nothingButTheCA() {
	o.Helper()
	config := rest.CopyConfig(s.REST)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + o.system + ":" + v1ReleaseName + "-envinjector", Groups: []string{"system:serviceaccounts", "system:authenticated"}}
	itself, err := client.New(config, client.Options{Scheme: s.Client.Scheme()})
	require.NoError(o, err)
	patch := func(name, content string) error {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: name}}
		return itself.Patch(o.Context(), secret, client.RawPatch(types.MergePatchType, []byte(content)), client.DryRunAll)
	}
	require.NoError(o, s.Client.Create(o.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "akv2k8s-settings"}, StringData: map[string]string{"ca.crt": "x"}}))
	require.NoError(o, s.Client.Create(o.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "web"}, Type: corev1.SecretTypeTLS, Data: o.workload("web")}))
	assert.NoError(o, patch("akv2k8s-web", `{"data":{"ca.crt":"eA=="}}`))
	for what, err := range map[string]error{
		"the key": patch("akv2k8s-web", `{"data":{"tls.key":"eA=="}}`), "another entry": patch("akv2k8s-web", `{"data":{"more":"eA=="}}`),
		"less": patch("akv2k8s-web", `{"data":{"ca.crt":null}}`), "a label": patch("akv2k8s-web", `{"metadata":{"labels":{"a":"b"}}}`),
		"an owner":             patch("akv2k8s-web", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"a","uid":"b"}]}}`),
		"for ever":             patch("akv2k8s-web", `{"immutable":true}`),
		"another kind of them": patch("akv2k8s-settings", `{"data":{"ca.crt":"eA=="}}`), "another name": patch("web", `{"data":{"ca.crt":"eA=="}}`),
	} {
		assert.ErrorContains(o, err, "akv2k8s may change", what)
	}
	err = itself.Create(o.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "akv2k8s-made"}}, client.DryRunAll)
	assert.True(o, apierrors.IsForbidden(err), "%v", err)
	outside := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "akv2k8s-any"}}
	err = itself.Patch(o.Context(), outside, client.RawPatch(types.MergePatchType, []byte(`{"data":{"ca.crt":"eA=="}}`)), client.DryRunAll)
	assert.True(o, apierrors.IsForbidden(err), "only in the namespaces that are listed: %v", err)
}

// replica is the name of the env-injector's only pod, beside those of the hooks' Jobs.
func (o v1Installation) replica() string {
	o.Helper()
	var pods corev1.PodList
	require.NoError(o, s.Client.List(o.Context(), &pods, client.InNamespace(o.system)))
	pods.Items = slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.Labels["batch.kubernetes.io/job-name"] != "" })
	require.Len(o, pods.Items, 1)
	return pods.Items[0].Name
}

// withoutTheCA asks for pod app from outside, with its Secret's certificate, while the CA of akv2k8s 1.8 is gone.
func (o v1Installation) withoutTheCA() {
	o.Helper()
	ca := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.system, Name: v1ReleaseName + "-envinjector-ca"}}
	require.NoError(o, s.Client.Delete(o.Context(), ca))
	replica := o.replica()
	plain, secure := forwardIn(o.T, o.system, replica, 8080), forwardIn(o.T, o.system, replica, 9443)
	w := v1test.Wrapper{Folder: o.TempDir(), ServiceURL: "https://" + o.host() + ":9443", ValidationURL: "http://" + o.host() + ":80", Namespace: o.namespace, Pod: "app", Secret: "akv2k8s-app",
		Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := plain
			if strings.HasSuffix(address, ":9443") {
				to = secure
			}
			return (&net.Dialer{}).DialContext(ctx, network, to)
		}}}
	require.NoError(o, stage.Await(o.Context(), patience, "the CA to be missed", func(ctx context.Context) error {
		if status, err := w.Validate(ctx); err != nil || status != http.StatusCreated {
			return fmt.Errorf("it is answered %d: %w", status, err)
		}
		return nil
	}))
	var secret, serving corev1.Secret
	require.NoError(o, s.Client.Get(o.Context(), types.NamespacedName{Namespace: o.namespace, Name: "akv2k8s-app"}, &secret))
	require.NoError(o, s.Client.Get(o.Context(), types.NamespacedName{Namespace: o.system, Name: v1ReleaseName + "-envinjector-serving"}, &serving))
	assert.Equal(o, string(serving.Data["ca.crt"]), string(secret.Data["ca.crt"]), "the pod is given the CA of the installation")
	for name, content := range maps.All(secret.Data) {
		require.NoError(o, os.WriteFile(filepath.Join(w.Folder, name), content, 0o600))
	}
	token, err := w.RequestToken(o.Context())
	require.NoError(o, err)
	remember(token)
	logs, err := s.Logs(o.Context(), o.system)
	require.NoError(o, err)
	for name, log := range logs {
		assert.Empty(o, leaks(log), name)
		assert.Equal(o, strings.HasPrefix(name, replica), strings.Contains(log, "gave the installation's token"), name)
	}
	content, err := s.Kube.CoreV1().RESTClient().Get().AbsPath("/api/v1/namespaces/" + o.system + "/pods/" + replica + ":8080/proxy/metrics").DoRaw(o.Context())
	require.NoError(o, err)
	for _, metric := range []string{`akv2k8s_legacy_answers_total{answer="token"}`, `akv2k8s_legacy_answers_total{answer="written"}`, `akv2k8s_legacy_answers_total{answer="refused"}`, "akv2k8s_legacy_pods "} {
		assert.Contains(o, string(content), metric)
	}
	ca.ResourceVersion, ca.Type, ca.Data = "", corev1.SecretTypeTLS, o.authority.CASecretData()
	require.NoError(o, s.Client.Create(o.Context(), ca))
}

// v1PodsMustBeRecreated asks as the wrapper of akv2k8s 1.8 does when a container starts again.
func v1PodsMustBeRecreated(t *testing.T) {
	tm := newTeam(t)
	p := tm.pod("old", nil, "sh", "-c", `wget -S -O /dev/null "http://akv2k8s-envinjector.akv2k8s.svc:80/auth/`+tm.namespace+`/old?secret=akv2k8s-old" 2>&1; true`)
	p.Spec.Volumes = []corev1.Volume{{Name: "akv2k8s-client-cert", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	tm.create(p)
	_, log := tm.ended("old")
	assert.Contains(t, log, "410 Gone")
	require.NoError(t, stage.Await(t.Context(), patience, "the event", func(ctx context.Context) error {
		var events eventsv1.EventList
		if err := s.Client.List(ctx, &events, client.InNamespace(tm.namespace)); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == "RecreatePod" && e.Type == "Warning" && e.Regarding.Name == "old" && strings.Contains(e.Note, "kubectl rollout restart") {
				return nil
			}
		}
		return fmt.Errorf("there are %d events", len(events.Items))
	}))
}
