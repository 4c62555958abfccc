//go:build cluster

package flood

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/cluster/image"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// attackerImage is an image of tests/long/flood/attacker.
const attackerImage = "ghcr.io/akv2k8s/attacker:0"

// Namespaces of the attackers: two that nobody labelled, and a tenant with injection.
const (
	stranger, otherStranger = "stranger", "other-stranger"
	hostile                 = "hostile"
)

// portAttacks are what attackers in pods do, by namespace.
func portAttacks() map[string][]string {
	return map[string][]string{
		stranger: {"review-containers", "review-variables", "review-references", "review-sources", "review-depth", "probes", "auth-no-token", "auth-drip",
			"review-existence"},
		otherStranger: {"review-drip", "auth-drip", "connections", "probes"},
		hostile:       {"auth-names", "auth-references", "auth-resources", "auth-unread", "auth-drip", "registry", "registry-large"},
	}
}

// poison makes objects of a tenant, each of which once stopped a worker, took gigabytes or kept others out.
func (f suite) poison() {
	f.Helper()
	ctx := f.Context()
	f.tenant(hostile)
	vault := "kv-" + hostile
	put := func(name, contentType, value string) {
		require.NoError(f, f.Azure.PutSecret(ctx, vault, name, keyvault.Secret{Value: value, ContentType: contentType}))
	}
	put("yaml", "application/x-yaml", aliasBomb())
	put("large", "", strings.Repeat("x", 24<<10))
	put("pfx", "application/x-pkcs12", f.pfxBomb())
	for i := range 200 {
		put(fmt.Sprintf("name-%d-%s", i, strings.Repeat("a", 100)), "", "x")
	}
	var manifest strings.Builder
	add := func(name, spec string) {
		fmt.Fprintf(&manifest, "---\napiVersion: spv.no/v2beta1\nkind: AzureKeyVaultSecret\nmetadata: {name: %s}\nspec: %s\n", name, spec)
	}
	output := `output: {secret: {name: %s, dataKey: x}}`
	named := func(name, object string) string {
		return fmt.Sprintf(`{vault: {name: %s, object: %s}, `+output+`}`, vault, object, name)
	}
	for i := range 32 {
		add(fmt.Sprintf("pfx-%d", i), named(fmt.Sprintf("pfx-%d", i), `{name: pfx, type: certificate}`))
	}
	add("pfx", fmt.Sprintf(`{vault: {name: %s, object: {name: pfx, type: certificate}}}`, vault))
	add("big", fmt.Sprintf(`{vault: {name: %s, object: {name: large, type: secret}}}`, vault))
	add("yaml", fmt.Sprintf(`{vault: {name: %s, object: {name: yaml, type: multi-key-value-secret, contentType: application/x-yaml}}, output: {secret: {name: yaml}}}`, vault))
	encode := strings.TrimSuffix(strings.Repeat("base64encode, ", 16), ", ")
	var data, searches []string
	for i := range 50 {
		data = append(data, fmt.Sprintf(`{dataKey: k%d, object: {name: large, type: secret}, transform: [%s]}`, i, encode))
	}
	for i := range 20 {
		searches = append(searches, fmt.Sprintf(`{match: {regexp: "(a{1,30}){1,30}%d"}, rewrite: {source: "(.*)", target: "${1}"}}`, i))
	}
	add("growth", fmt.Sprintf(`{vault: {name: %s}, data: [%s], output: {secret: {name: growth}}}`, vault, strings.Join(data, ", ")))
	add("search", fmt.Sprintf(`{vault: {name: %s}, refreshInterval: 1s, dataFrom: [%s], output: {secret: {name: search}}}`, vault, strings.Join(searches, ", ")))
	for i := range 200 {
		name := fmt.Sprintf("no-vault-%d", i)
		add(name, fmt.Sprintf(`{vault: {name: %s, object: {name: x, type: secret}}, `+output+`}`, name, name))
	}
	// What the API server refuses by schema is a bound too; the rest is the controller's.
	for _, object := range strings.Split(manifest.String(), "---\n")[1:] {
		if err := f.Apply(ctx, hostile, object); err != nil {
			f.Logf("refused when it was applied: %.300s", err)
		}
	}
	require.NoError(f, f.Azure.Inject(ctx, keyvault.Fault{Vault: "no-vault-1", Status: 429, Code: "Throttled", RetryAfter: 365 * 24 * 3600}))
}

// aliasBomb is a YAML document of some hundred bytes that would become gigabytes.
func aliasBomb() string {
	var out strings.Builder
	out.WriteString("a0: &a0 [" + strings.Repeat("x,", 9) + "x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&out, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 9), i-1)
	}
	return out.String()
}

// pfxBomb is a PFX that asks for 2^62 iterations before it can be read.
func (f suite) pfxBomb() string {
	f.Helper()
	content, err := os.ReadFile("testdata/iterations.pfx")
	require.NoError(f, err)
	return base64.StdEncoding.EncodeToString(content)
}

// attack starts the attackers' pods.
func (f suite) attack() []client.ObjectKey {
	f.Helper()
	f.loadAttacker()
	var all []client.ObjectKey
	for namespace, attacks := range portAttacks() {
		if namespace != hostile {
			require.NoError(f, f.Namespace(f.Context(), namespace, nil))
			require.NoError(f, f.Client.Create(f.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "known"},
				StringData: map[string]string{"key": "db@azurekeyvault"}}))
		}
		for i, attack := range attacks {
			p := f.attacker(namespace, fmt.Sprintf("%s-%d", attack, i), attack)
			require.NoError(f, f.Client.Create(f.Context(), p))
			all = append(all, client.ObjectKeyFromObject(p))
		}
	}
	// A registry that never answers, and one with images whose commands are large.
	f.createPodsWithoutCommand("registry", 5000)
	f.createPodsWithoutCommand("registry-large", 5001)
	return all
}

func (f suite) loadAttacker() {
	f.Helper()
	maker := image.Maker{Root: f.Root, Into: f.TempDir(), Progress: os.Stdout}
	archive, err := maker.Static(f.Context(), attackerImage, "./tests/long/flood/attacker")
	require.NoError(f, err)
	require.NoError(f, f.Cluster.Load(f.Context(), map[string]string{attackerImage: archive}))
}

// attacker describes a pod of one attack. Its processor is bounded, so that the machine itself is not what is attacked.
func (f suite) attacker(namespace, name, attack string) *corev1.Pod {
	seconds := int64(3600)
	p := f.pod(namespace, name, nil)
	c := &p.Spec.Containers[0]
	c.Image, c.ImagePullPolicy, c.Command = attackerImage, corev1.PullNever, []string{"/program", "-for=" + lasting.String(), "-workers=16", attack}
	c.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("20m"), corev1.ResourceMemory: resource.MustParse("256Mi")}
	c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1m"), corev1.ResourceMemory: resource.MustParse("16Mi")}
	p.Labels = map[string]string{"attack": attack}
	p.Spec.Volumes = []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: "akv2k8s", ExpirationSeconds: &seconds, Path: "token"}}}}}}}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "token", MountPath: "/var/run/secrets/attacker"}}
	if namespace == hostile && strings.HasPrefix(attack, "auth-") {
		// The owner of a pod may write into it what the webhook writes into pods whose ConfigMaps are missing: that it
		// may ask for any reference.
		p.Labels["akv2k8s.io/inject"] = "false"
		c.Env = append(c.Env, corev1.EnvVar{Name: "ENV_INJECTOR_ALLOW_UNRECORDED", Value: "true"})
	}
	return p
}

// createPodsWithoutCommand creates pods of a tenant without a command, whose images are in the registry of an attack.
// They are refused; each try costs the webhook a look-up.
func (f suite) createPodsWithoutCommand(attack string, port int) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), lasting)
	f.Cleanup(cancel)
	for worker := range 4 {
		go func() {
			for i := 0; ctx.Err() == nil; i++ {
				time.Sleep(500 * time.Millisecond) // the API server is not what is attacked
				var registry corev1.PodList
				if err := f.Client.List(ctx, &registry, client.InNamespace(hostile), client.MatchingLabels{"attack": attack}); err != nil || len(registry.Items) == 0 {
					continue
				}
				p := f.pod(hostile, "", map[string]string{"A": "big@azurekeyvault"})
				p.GenerateName = attack + "-"
				p.Spec.Containers[0].Image = fmt.Sprintf("%s:%d/image-%d-%d:1", registry.Items[0].Status.PodIP, port, worker, i)
				_ = f.Client.Create(ctx, p, client.DryRunAll)
			}
		}()
	}
}

// awaitAttackers waits until every attack goes on.
func (f suite) awaitAttackers(all []client.ObjectKey) {
	f.Helper()
	require.NoError(f, stage.Await(f.Context(), time.Minute, "the attackers to run", func(ctx context.Context) error {
		for _, key := range all {
			var p corev1.Pod
			if err := f.Client.Get(ctx, key, &p); err != nil {
				return err
			}
			if p.Status.Phase != corev1.PodRunning {
				return fmt.Errorf("%s is %s", key, p.Status.Phase)
			}
		}
		return nil
	}))
}

// finish waits until the attacks are over, and gives what each counted.
func (f suite) finish(all []client.ObjectKey) map[string]string {
	f.Helper()
	outcomes := map[string]string{}
	require.NoError(f, stage.Await(f.Context(), 2*lasting, "the end of the attacks", func(ctx context.Context) error {
		for _, key := range all {
			var p corev1.Pod
			if err := f.Client.Get(ctx, key, &p); err != nil {
				return err
			}
			if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
				return fmt.Errorf("%s is %s", key, p.Status.Phase)
			}
		}
		return nil
	}))
	for _, key := range all {
		content, err := f.Kube.CoreV1().Pods(key.Namespace).GetLogs(key.Name, &corev1.PodLogOptions{}).DoRaw(f.Context())
		assert.NoError(f, err)
		outcomes[key.String()] = strings.Join(strings.Fields(string(content)), " ")
	}
	assert.NoError(f, f.Client.DeleteAllOf(f.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{}}, client.InNamespace(stranger)))
	return outcomes
}
