//go:build cluster

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/wire"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// brokerHost is the name that the broker's certificate has to have.
const brokerHost = "akv2k8s-envinjector.akv2k8s.svc"

// tokens are all that these tests ever sent, to be searched for in the end.
var (
	tokensMu sync.Mutex
	tokens   []string
)

// replicas are the pods of a component of the product, without those that an upgrade is taking away.
func replicas(t *testing.T, component string) []corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	require.NoError(t, s.Client.List(t.Context(), &pods, client.InNamespace("akv2k8s"), client.MatchingLabels{"app.kubernetes.io/component": component}))
	running := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	require.NotEmpty(t, running)
	return running
}

// forward leads a local port to a port of a pod of the product.
func forward(t *testing.T, pod string, port int) string {
	t.Helper()
	return forwardIn(t, "akv2k8s", pod, port)
}

func forwardIn(t *testing.T, namespace, pod string, port int) string {
	t.Helper()
	address, err := s.Forward(t.Context(), namespace, pod, port)
	require.NoError(t, err)
	return address
}

// pool holds the CA that the API server was given.
func pool(t *testing.T) *x509.CertPool {
	t.Helper()
	var hook admissionv1.MutatingWebhookConfiguration
	require.NoError(t, s.Client.Get(t.Context(), types.NamespacedName{Name: "akv2k8s-envinjector"}, &hook))
	p := x509.NewCertPool()
	require.True(t, p.AppendCertsFromPEM(hook.Webhooks[0].ClientConfig.CABundle))
	return p
}

// token asks the API server for a token as the kubelet would.
func (tm team) token(p *corev1.Pod, audience string) string {
	tm.Helper()
	seconds := int64(600)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}, ExpirationSeconds: &seconds}}
	if p != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.Name, UID: p.UID}
	}
	response, err := s.Kube.CoreV1().ServiceAccounts(tm.namespace).CreateToken(tm.Context(), "default", request, metav1.CreateOptions{})
	require.NoError(tm, err)
	return remember(response.Status.Token)
}

func remember(token string) string {
	tokensMu.Lock()
	defer tokensMu.Unlock()
	tokens = append(tokens, token)
	return token
}

// shifted makes a token that is good for an hour from a time on, with the cluster's own key.
func shifted(t *testing.T, token, keyFile string, from time.Time) string {
	t.Helper()
	content, err := os.ReadFile(keyFile)
	require.NoError(t, err)
	key, err := jwt.ParseRSAPrivateKeyFromPEM(content)
	require.NoError(t, err)
	claims := jwt.MapClaims{}
	parsed, _, err := jwt.NewParser().ParseUnverified(token, claims)
	require.NoError(t, err)
	claims["iat"], claims["nbf"], claims["exp"] = from.Unix(), from.Unix(), from.Add(time.Hour).Unix()
	again := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	again.Header["kid"] = parsed.Header["kid"]
	text, err := again.SignedString(key)
	require.NoError(t, err)
	return remember(text)
}

// ask asks the broker as a program in a pod could.
func ask(t *testing.T, address, token string, references map[string]string) (int, wire.ResolveResponse, wire.ErrorResponse) {
	t.Helper()
	body, err := json.Marshal(wire.ResolveRequest{References: references})
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+wire.ResolvePath, bytes.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	asker := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool(t), ServerName: brokerHost}}}
	defer asker.CloseIdleConnections()
	response, err := asker.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var values wire.ResolveResponse
	var refusal wire.ErrorResponse
	if response.StatusCode == http.StatusOK {
		require.NoError(t, json.Unmarshal(content, &values))
	} else {
		require.NoError(t, json.Unmarshal(content, &refusal))
	}
	return response.StatusCode, values, refusal
}

// refusals counts what all replicas refused.
func refusals(t *testing.T) int {
	t.Helper()
	count := 0
	for _, p := range replicas(t, "akv2k8s-webhook") {
		content, err := s.Kube.CoreV1().RESTClient().Get().AbsPath("/api/v1/namespaces/akv2k8s/pods/" + p.Name + ":8080/proxy/metrics").DoRaw(t.Context())
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`(?m)^akv2k8s_auth_requests_failed_total\{.*\} (\d+)$`).FindAllStringSubmatch(string(content), -1) {
			n, err := strconv.Atoi(m[1])
			require.NoError(t, err)
			count += n
		}
	}
	return count
}

func attacks(t *testing.T) {
	tm := newTeam(t)
	tm.resource("a", "db", "")
	tm.resource("b", "db", "")
	const sleep = "sleep 600"
	podA := tm.create(tm.pod("a", map[string]string{"DB": "a@azurekeyvault"}, "sh", "-c", sleep))
	podB := tm.create(tm.pod("b", map[string]string{"DB": "b@azurekeyvault"}, "sh", "-c", sleep))
	address := forward(t, replicas(t, "akv2k8s-webhook")[0].Name, 9443)
	own := map[string]string{"DB": "a@azurekeyvault"}

	good := tm.token(podA, wire.TokenAudience)
	status, values, refusal := ask(t, address, good, own)
	require.Equal(t, http.StatusOK, status, "a pod's own token gets its own reference: %+v", refusal)
	assert.Equal(t, canary+"-db", string(values.Values["DB"]))
	before := refusals(t)

	status, _, refusal = ask(t, address, good, map[string]string{"DB": "b@azurekeyvault"})
	assert.Equal(t, http.StatusForbidden, status, "pod A's token for pod B's reference")
	assert.Equal(t, "Denied", refusal.Kind)

	status, _, _ = ask(t, address, good, map[string]string{"DB": "a@azurekeyvault", "B": "b@azurekeyvault"})
	assert.Equal(t, http.StatusForbidden, status, "all or nothing")

	status, _, refusal = ask(t, address, tm.token(podA, "https://kubernetes.default.svc"), own)
	assert.Equal(t, http.StatusUnauthorized, status, "the token for the API server")
	assert.Equal(t, "Unauthenticated", refusal.Kind)

	status, _, _ = ask(t, address, tm.token(nil, wire.TokenAudience), own)
	assert.Equal(t, http.StatusUnauthorized, status, "a token that is bound to no pod")

	status, _, _ = ask(t, address, good[:len(good)-8]+"AAAAAAAA", own)
	assert.Equal(t, http.StatusUnauthorized, status, "a forged signature")
	refused := 5

	if cluster, ok := s.Cluster.(interface{ ServiceAccountKey() string }); ok {
		for what, from := range map[string]time.Duration{"a token that expired an hour ago": -2 * time.Hour, "one of a clock that is an hour ahead": time.Hour} {
			status, _, refusal = ask(t, address, shifted(t, good, cluster.ServiceAccountKey(), time.Now().Add(from)), own)
			assert.Equal(t, http.StatusUnauthorized, status, what)
			assert.Contains(t, refusal.Message, "expired or not yet valid by the clock of the API server", what)
			refused++
		}
	} else {
		t.Log("not tried: tokens of other times are made with the cluster's own key, which only the local cluster gives; use CLUSTER=local")
	}

	ofB := tm.token(podB, wire.TokenAudience)
	require.NoError(t, s.Client.Delete(t.Context(), podB, client.GracePeriodSeconds(0)))
	require.NoError(t, stage.Await(t.Context(), patience, "the end of pod b", func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(podB), &corev1.Pod{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is still there: %w", err)
		}
		return nil
	}))
	require.NoError(t, stage.Await(t.Context(), 2*patience, "the token of a deleted pod to be refused", func(context.Context) error {
		// The API server believes a review for up to ten seconds.
		if status, _, _ := ask(t, address, ofB, map[string]string{"DB": "b@azurekeyvault"}); status != http.StatusUnauthorized {
			return fmt.Errorf("it is answered %d", status)
		}
		return nil
	}))
	require.NoError(t, stage.Await(t.Context(), patience, "the refusals to be counted", func(context.Context) error {
		// The text of the metrics may be a second old.
		if counted := refusals(t) - before; counted < refused+1 {
			return fmt.Errorf("%d of %d are", counted, refused+1)
		}
		return nil
	}))
	logs, err := s.Logs(t.Context(), "akv2k8s")
	require.NoError(t, err)
	logged := false
	for _, log := range logs {
		logged = logged || (strings.Contains(log, "refused") && strings.Contains(log, tm.namespace))
	}
	assert.True(t, logged, "and logged")
}

func replicasShareTheCA(t *testing.T) {
	pods := replicas(t, "akv2k8s-webhook")
	require.Len(t, pods, 2)
	trusted := pool(t)
	for _, p := range pods {
		for _, port := range []int{8443, 9443} {
			connection, err := (&tls.Dialer{Config: &tls.Config{RootCAs: trusted, ServerName: brokerHost}}).DialContext(t.Context(), "tcp", forward(t, p.Name, port))
			if assert.NoError(t, err, "%s, port %d", p.Name, port) {
				_ = connection.Close()
			}
		}
		for _, c := range p.Status.ContainerStatuses {
			assert.Zero(t, c.RestartCount, "%s needed no restart", p.Name)
		}
	}
}

// authorityIsRepaired takes the CA out of the webhook's configuration. Until it is back, pods with references can't be
// created, in any namespace: not beside other scenarios.
func authorityIsRepaired(t *testing.T) {
	tm := newTeam(t)
	var hook admissionv1.MutatingWebhookConfiguration
	key := types.NamespacedName{Name: "akv2k8s-envinjector"}
	require.NoError(t, s.Client.Get(t.Context(), key, &hook))
	right := hook.Webhooks[0].ClientConfig.CABundle
	hook.Webhooks[0].ClientConfig.CABundle = nil
	require.NoError(t, s.Client.Update(t.Context(), &hook))
	started := time.Now()
	require.NoError(t, stage.Await(t.Context(), 10*time.Second, "the repair of the caBundle", func(ctx context.Context) error {
		if err := s.Client.Get(ctx, key, &hook); err != nil {
			return err
		}
		if !bytes.Equal(hook.Webhooks[0].ClientConfig.CABundle, right) {
			return fmt.Errorf("it is not as it was")
		}
		return nil
	}))
	t.Logf("the caBundle was repaired after %s", time.Since(started))
	require.NoError(t, stage.Await(t.Context(), patience, "an admission, by the CA the API server has now", func(ctx context.Context) error {
		return s.Client.Create(ctx, tm.pod("refers", map[string]string{"DB": "db@azurekeyvault"}, "true"), client.DryRunAll)
	}))
}
