//go:build cluster

package quiz

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// refusal is a pod that reads the vault with credentials that can't work.
type refusal struct {
	// env are variables NAME=VALUE of the pod.
	env  []string
	says []string
	next string
}

// user is the one of the applications that have a user.
const user, userPassword = "reader@emulator.onmicrosoft.com", "of-the-user-alone"

// mounts are where the files of the credentials are in each pod.
const (
	filesPath  = "/credentials/"
	tokensPath = "/tokens/"
	exchange   = "api://AzureADTokenExchange"
	unknownID  = "99999999-9999-4999-8999-999999999999"
)

// principals creates applications, one for each answer.
type principals struct{ seed emulator.Seed }

// add adds a principal and returns its client id.
func (p *principals) add(change func(*entra.Principal)) string {
	n := len(p.seed.Principals)
	principal := entra.Principal{Name: "quiz-" + strconv.Itoa(n), ClientID: fmt.Sprintf("d%07d-0000-4000-8000-000000000001", n),
		ObjectID: fmt.Sprintf("d%07d-0000-4000-8000-000000000002", n), Secret: "of-quiz-" + strconv.Itoa(n), Username: user, Password: userPassword}
	change(&principal)
	p.seed.Principals = append(p.seed.Principals, principal)
	return principal.ClientID
}

// refused returns the variables of an application with a valid secret, which Entra ID answers with an error.
func (p *principals) refused(code int) []string {
	n := len(p.seed.Principals)
	id := p.add(func(principal *entra.Principal) { principal.RefusedWith = code })
	return []string{"AZURE_TENANT_ID=" + local.TenantID, "AZURE_CLIENT_ID=" + id, "AZURE_CLIENT_SECRET=of-quiz-" + strconv.Itoa(n)}
}

// metadata returns the variables of a managed identity for which the metadata service answers with a status.
func (p *principals) metadata(status int) []string {
	id := p.add(func(principal *entra.Principal) {
		principal.ManagedIdentity, principal.Secret, principal.MetadataStatus = "user", "", status
	})
	return []string{"AZURE_CLIENT_ID=" + id}
}

// application returns the variables of the application of every emulator, and more.
func application(more ...string) []string {
	return append([]string{"AZURE_TENANT_ID=" + local.TenantID, "AZURE_CLIENT_ID=" + stage.AppClientID}, more...)
}

// pfx is a certificate with its key, and a password. Entra ID accepts RSA keys only.
func pfx(t *testing.T, key crypto.Signer, password string) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "quiz"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	content, err := pkcs12.Modern.Encode(key, certificate, nil, password)
	require.NoError(t, err)
	return content
}

// refusals are those of tests/long/auth-processes, and more answers of Entra ID.
func refusals(t *testing.T, q *quiz, p *principals) map[string]refusal {
	t.Helper()
	key := q.issuerKey(t)
	trusting := func(subject string) []string {
		id := p.add(func(principal *entra.Principal) {
			principal.Federated = []entra.Federation{{Issuer: "https://kubernetes.default.svc", Subject: subject, Key: key}}
		})
		return []string{"AZURE_TENANT_ID=" + local.TenantID, "AZURE_CLIENT_ID=" + id}
	}
	all := map[string]refusal{
		"no client id":                 {[]string{"AZURE_TENANT_ID=" + local.TenantID, "AZURE_CLIENT_SECRET=" + canary}, []string{"incomplete", "AZURE_CLIENT_ID"}, "AZURE_CLIENT_ID"},
		"no secret":                    {application(), []string{"incomplete"}, "AZURE_CLIENT_SECRET"},
		"no password":                  {application("AZURE_USERNAME=" + user), []string{"incomplete"}, "AZURE_PASSWORD"},
		"no such cloud":                {application("AZURE_CLIENT_SECRET="+canary, "AZURE_ENVIRONMENT=AzureMoon"), []string{"AzureMoon"}, "AzureUSGovernmentCloud"},
		"a reference as credential":    {application("AZURE_CLIENT_SECRET=db@azurekeyvault"), []string{"AZURE_CLIENT_SECRET"}, "Kubernetes Secret"},
		"no azure.json":                {[]string{"ENV_INJECTOR_AUTH_TYPE=azureCloudConfig"}, []string{"azure.json"}, "environment"},
		"no certificate":               {application("AZURE_CERTIFICATE_PATH=" + filesPath + "none.pfx"), []string{"none.pfx"}, "AZURE_CERTIFICATE_PATH"},
		"the password of a PFX":        {application("AZURE_CERTIFICATE_PATH="+filesPath+"app.pfx", "AZURE_CERTIFICATE_PASSWORD="+canary), []string{"the password of the private key in the certificate file is wrong"}, "AZURE_CERTIFICATE_PASSWORD"},
		"a certificate of another":     {application("AZURE_CERTIFICATE_PATH="+filesPath+"app.pfx", "AZURE_CERTIFICATE_PASSWORD=good"), []string{"AADSTS700027"}, "upload the certificate"},
		"a certificate with an EC key": {application("AZURE_CERTIFICATE_PATH="+filesPath+"ec.pfx", "AZURE_CERTIFICATE_PASSWORD=good"), []string{"Entra ID accepts only RSA keys"}, "RSA key"},
		"a wrong secret":               {application("AZURE_CLIENT_SECRET=" + canary), []string{"the client secret is wrong", "AADSTS7000215"}, "use the secret's value"},
		"an expired secret":            {p.refused(7000222), []string{"the client secret has expired"}, "create a new one"},
		"a wrong user's password":      {application("AZURE_USERNAME="+user, "AZURE_PASSWORD="+canary), []string{"AADSTS50126"}, "AZURE_PASSWORD"},
		"an unknown tenant":            {[]string{"AZURE_TENANT_ID=" + unknownID, "AZURE_CLIENT_ID=" + stage.AppClientID, "AZURE_CLIENT_SECRET=" + canary}, []string{"the vault belongs to tenant " + local.TenantID}, "correct the tenant id"},
		"an unknown application":       {[]string{"AZURE_TENANT_ID=" + local.TenantID, "AZURE_CLIENT_ID=" + unknownID, "AZURE_CLIENT_SECRET=" + canary}, []string{"the application does not exist in the tenant"}, "client id"},
		"no federated token":           {application("AZURE_FEDERATED_TOKEN_FILE=/no/such/token"), []string{"/no/such/token"}, "azure.workload.identity/use"},
		"no federated credential":      {application("AZURE_FEDERATED_TOKEN_FILE=" + tokensPath + "exchange"), []string{"no federated credential of the application"}, "federated credential"},
		"another subject":              {append(trusting("system:serviceaccount:elsewhere:default"), "AZURE_FEDERATED_TOKEN_FILE="+tokensPath+"exchange"), []string{"no federated credential of the application has the subject"}, "set the subject"},
		"another audience":             {append(trusting("system:serviceaccount:credentials:default"), "AZURE_FEDERATED_TOKEN_FILE="+tokensPath+"other"), []string{"for another audience"}, exchange},
		"another issuer":               {p.refused(700211), []string{"has the issuer of the pod's token"}, "issuer"},
		"letter case":                  {p.refused(7002138), []string{"only in letter case"}, "letter case"},
		"a clock that is wrong":        {p.refused(700024), []string{"the assertion is not valid at this time"}, "clock"},
		"a disabled application":       {p.refused(7000112), []string{"the application is disabled"}, "enable the application"},
		"no service principal":         {p.refused(7000229), []string{"no service principal in the tenant"}, "az ad sp create"},
		"Conditional Access":           {p.refused(53003), []string{"a Conditional Access policy blocks"}, "exclude the identity"},
		"a tenant without Key Vault":   {p.refused(500011), []string{"Key Vault does not exist as a resource"}, "Microsoft.KeyVault"},
		"a disabled tenant":            {p.refused(500014), []string{"Key Vault is disabled as a resource"}, "active subscription"},
		"too many sign-ins":            {p.refused(50196), []string{"too many identical requests"}, "retries more slowly"},
		"an unknown answer":            {p.refused(123456), []string{"Entra ID rejected the sign-in", "AADSTS123456"}, "look up the code"},
		"a binding without its CA": {application("AZURE_FEDERATED_TOKEN_FILE="+tokensPath+"exchange", "AZURE_KUBERNETES_TOKEN_PROXY=https://x", "AZURE_KUBERNETES_CA_FILE=/no/such"),
			[]string{"identity binding"}, "AZURE_KUBERNETES_TOKEN_PROXY"},
	}
	for code, says := range map[int]string{65001: "no consent", 50076: "a second factor", 50053: "the account is locked", 50057: "the user's account is disabled"} {
		id := p.add(func(principal *entra.Principal) { principal.RefusedWith = code })
		all["a user: "+says] = refusal{[]string{"AZURE_TENANT_ID=" + local.TenantID, "AZURE_CLIENT_ID=" + id, "AZURE_USERNAME=" + user, "AZURE_PASSWORD=" + userPassword},
			[]string{says}, ""}
	}
	for _, status := range []int{400, 404, 410, 429, 500} {
		all[fmt.Sprintf("the metadata service answers %d", status)] = refusal{p.metadata(status), []string{strconv.Itoa(status)}, "node"}
	}
	return all
}

// issuerKey is the public key of the cluster's tokens.
func (q *quiz) issuerKey(t *testing.T) string {
	t.Helper()
	cluster, ok := q.stage.Cluster.(interface{ ServiceAccountKey() string })
	require.True(t, ok, "needs the key that signs the cluster's tokens, which only the local cluster gives; use CLUSTER=local")
	key, err := os.ReadFile(strings.TrimSuffix(cluster.ServiceAccountKey(), ".key") + ".pub")
	require.NoError(t, err)
	return string(key)
}

// credentialFaults are pods that read the vault with their own credentials, each with one that can't work.
func credentialFaults(t *testing.T, q *quiz) []fault {
	h, p := home{q, "credentials"}, &principals{}
	all := refusals(t, q, p)
	ctx := t.Context()
	require.NoError(t, q.stage.Azure.Seed(ctx, p.seed))
	require.NoError(t, h.create(ctx, nil))
	t.Cleanup(func() { require.NoError(t, h.remove(context.WithoutCancel(ctx))) })
	require.NoError(t, h.resource(ctx, "db", ""))
	require.NoError(t, h.awaitReason(ctx, "db", "Synced"))
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	require.NoError(t, h.stage.Client.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.name, Name: "files"},
		Data: map[string][]byte{"app.pfx": pfx(t, rsaKey, "good"), "ec.pfx": pfx(t, ecKey, "good")}}))
	var faults []fault
	for n, name := range slices.Sorted(maps.Keys(all)) {
		r := all[name]
		pod := withCredentials(h.pod(fmt.Sprintf("refused-%d", n), append([]string{"DB=db@azurekeyvault", "ENV_INJECTOR_DISABLE_AUTH_SERVICE=true",
			"ENV_INJECTOR_RETRIES=0", "ENV_INJECTOR_TIMEOUT=0s"}, r.env...)...))
		faults = append(faults, fault{name: name, says: r.says, next: r.next,
			plant: func(ctx context.Context) error {
				if err := h.start(ctx, pod); err != nil {
					return err
				}
				return h.awaitEnd(ctx, pod.Name)
			},
			commands: [][]string{{"doctor", "-n", h.name, "pod/" + pod.Name}}})
	}
	return faults
}

// withCredentials mounts the files and tokens that the credentials of the pods name.
func withCredentials(pod *corev1.Pod) *corev1.Pod {
	token := func(audience, path string) corev1.VolumeProjection {
		return corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: audience, Path: path}}
	}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "files", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "files"}}},
		{Name: "tokens", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			token(exchange, "exchange"), token("other", "other")}}}}}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "files", MountPath: filesPath}, {Name: "tokens", MountPath: tokensPath}}
	return pod
}
