//go:build cluster

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
)

// azureRoots are the roots that Microsoft documents for Azure and that browsers still believe. DigiCert Global Root CA
// is documented too, but Mozilla ended its trust.
func azureRoots() []string {
	return []string{
		"CN=DigiCert Global Root G2", "CN=DigiCert Global Root G3", "CN=DigiCert TLS ECC P384 Root G5", "CN=DigiCert TLS RSA4096 Root G5",
		"CN=Microsoft ECC Root Certificate Authority 2017", "CN=Microsoft RSA Root Certificate Authority 2017",
	}
}

// publicRoots starts each shipped image without any extra CA and asks it what it believes.
func publicRoots(t *testing.T) {
	tm := newTeam(t)
	for _, image := range []string{"controller", "env-injector", "env"} {
		p := tm.pod("roots-of-"+image, nil)
		p.Spec.Containers[0].Image, p.Spec.Containers[0].Args = s.ProductImage(image), []string{"trust"}
		tm.create(p)
		code, log := tm.ended(p.Name)
		assert.Zero(t, code, log)
		for _, root := range azureRoots() {
			assert.Contains(t, log, root, image)
		}
		assert.NotContains(t, log, "CN=ca\n", "the test bed's own CA is not in an image")
	}
}

// cryptographyIsTold compares what the programs say of their cryptography with the images that were chosen.
func cryptographyIsTold(t *testing.T) {
	for _, component := range []string{"akv2k8s-webhook", "akv2k8s-controller"} {
		assert.Equal(t, len(replicas(t, component)), strings.Count(metricsOf(t, component), fmt.Sprintf(`akv2k8s_build_info{fips140="%t"`, s.FIPS)), component)
	}
}

// leaks are the secrets that a text holds.
func leaks(text string) []string {
	var found []string
	for name, secret := range map[string]string{"a value": canary, "a value, encoded": base64.StdEncoding.EncodeToString([]byte(canary[:12])), "a bearer": "Bearer ey"} {
		if strings.Contains(text, secret) {
			found = append(found, name)
		}
	}
	tokensMu.Lock()
	defer tokensMu.Unlock()
	for _, token := range tokens {
		if strings.Contains(text, token[strings.LastIndex(token, ".")+1:]) || strings.Contains(text, token[:strings.LastIndex(token, ".")]) {
			found = append(found, "a token")
		}
	}
	return found
}

// nothingLeaked looks through everything that the product said or wrote but Secrets.
func nothingLeaked(t *testing.T) {
	control := newTeam(t)
	control.create(control.pod("control", nil, "echo", canary))
	_, log := control.ended("control")
	require.NotEmpty(t, leaks(log), "the search finds what is there")
	require.NotEmpty(t, leaks("x "+base64.StdEncoding.EncodeToString([]byte(canary+"-db"))))
	require.NotEmpty(t, tokens)
	require.NotEmpty(t, leaks(tokens[0]))

	texts, err := s.Logs(t.Context(), "akv2k8s")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(texts), 3, "the logs of three pods")
	for _, component := range []string{"akv2k8s-webhook", "akv2k8s-controller"} {
		for _, p := range replicas(t, component) {
			port := map[string]string{"akv2k8s-webhook": "8080", "akv2k8s-controller": "9000"}[component]
			content, err := s.Kube.CoreV1().RESTClient().Get().AbsPath("/api/v1/namespaces/akv2k8s/pods/" + p.Name + ":" + port + "/proxy/metrics").DoRaw(t.Context())
			require.NoError(t, err)
			require.Contains(t, string(content), "akv2k8s_")
			texts["metrics of "+p.Name] = string(content)
		}
	}
	for name, list := range map[string]client.ObjectList{
		"events": &eventsv1.EventList{}, "pods": &corev1.PodList{}, "resources and their status": &v2beta1.AzureKeyVaultSecretList{},
		"config maps": &corev1.ConfigMapList{}, "metadata of Secrets": &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "SecretList"}},
	} {
		require.NoError(t, s.Client.List(t.Context(), list))
		content, err := json.Marshal(list)
		require.NoError(t, err)
		require.Greater(t, len(content), 100, name)
		texts[name] = string(content)
	}
	for name, text := range texts {
		if name == "pods" { // the control's own command
			text = strings.ReplaceAll(text, `"`+canary+`"`, "")
		}
		assert.Empty(t, leaks(text), name)
	}
}
