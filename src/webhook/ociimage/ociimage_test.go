package ociimage_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/emulator/acr"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
	"github.com/akv2k8s/akv2k8s/src/testkit/registrytest"
	"github.com/akv2k8s/akv2k8s/src/webhook/ociimage"
)

const (
	user   = "puller"
	canary = "canary-password-3"
)

// bench is an Images and the registries that it can reach.
type bench struct {
	*testing.T
	authority *registrytest.Authority
	config    ociimage.Config
	transport ociimage.TransportConfig
	now       time.Time
	mu        sync.Mutex
	// names are addresses by host name; looked counts the requests.
	names  map[string]netip.Addr
	looked map[string]int
	images *ociimage.Images
	// httpsPort serves HTTPS in place of port 443, if it is set.
	httpsPort string
	// log has a line for each failure whose cause the author of the pod is not shown.
	log strings.Builder
}

var loopback = netip.MustParseAddr("127.0.0.1")

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, authority: registrytest.NewAuthority(t), now: time.Now(), names: map[string]netip.Addr{}, looked: map[string]int{}}
	b.transport = ociimage.TransportConfig{Roots: b.authority.Pool, AllowedNetworks: []netip.Prefix{only(loopback)},
		Resolver: registrytest.NewResolver(t, func(name string) (netip.Addr, bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.looked[name]++
			address, ok := b.names[name]
			return address, ok
		})}
	b.config = ociimage.Config{TagAge: time.Minute, Timeout: 10 * time.Second, Clock: func() time.Time { return b.now },
		Log: funcr.New(func(_, args string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.log.WriteString(args + "\n")
		}, funcr.Options{})}
	return b
}

// only is the network of one address.
func only(address netip.Addr) netip.Prefix { return netip.PrefixFrom(address, address.BitLen()) }

// takeLog gives the log's lines so far, and forgets them.
func (b *bench) takeLog() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.log.Reset()
	return b.log.String()
}

// unreachable checks the one sentence that says nothing about the network, and that the log has the cause under its id.
func (b *bench) unreachable(err error, registry, cause string) {
	b.Helper()
	require.Error(b, err)
	sentence := "the registry " + registry + " could not be reached or did not answer as a registry; the env-injector's log has the cause, id "
	require.ErrorContains(b, err, sentence)
	_, id, _ := strings.Cut(err.Error(), sentence)
	assert.Len(b, id, 8)
	log := b.takeLog()
	assert.Contains(b, log, `"id"="`+id+`"`)
	assert.Contains(b, log, cause)
}

// is gives a host name an address.
func (b *bench) is(name string, address netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.names[name] = address
}

// registry starts one under a name.
func (b *bench) registry(o registrytest.Options) registrytest.Registry {
	b.Helper()
	b.is(o.Name, loopback)
	return registrytest.Start(b.T, o)
}

// image is one that runs a command.
func image(t *testing.T, entrypoint []string, cmd ...string) v1.Image {
	t.Helper()
	made, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", Config: v1.Config{Entrypoint: entrypoint, Cmd: cmd}})
	require.NoError(t, err)
	return made
}

func (b *bench) pusher(at registrytest.Registry) []remote.Option {
	return []remote.Option{remote.WithTransport(b.authority.Transport(func(string) string { return at.Address })), remote.WithAuth(&authn.Basic{Username: user, Password: canary})}
}

func (b *bench) reference(image string) name.Reference {
	b.Helper()
	reference, err := name.ParseReference(image, name.Insecure)
	require.NoError(b, err)
	return reference
}

// push puts an image into a registry and gives its name.
func (b *bench) push(at registrytest.Registry, path string, content v1.Image) string {
	b.Helper()
	require.NoError(b, remote.Write(b.reference(at.Host+"/"+path), content, b.pusher(at)...))
	return at.Host + "/" + path
}

// newTransport is the transport of the bench, with its port for HTTPS.
func (b *bench) newTransport() http.RoundTripper {
	transport := ociimage.NewTransport(b.transport)
	if b.httpsPort != "" {
		ociimage.RedirectPort(b.T, transport, "443", b.httpsPort)
	}
	return transport
}

func (b *bench) ask(q ociimage.Query) (ociimage.Command, error) {
	b.Helper()
	if b.images == nil {
		b.config.Transport = b.newTransport()
		var err error
		b.images, err = ociimage.New(b.config)
		require.NoError(b, err)
	}
	if q.OS == "" {
		q.OS = "linux"
	}
	command, err := b.images.ReadCommand(b.Context(), q)
	if err != nil {
		assert.NotContains(b, err.Error(), canary)
		asked := strings.NewReplacer(q.Image, "", ociimage.RegistryOf(q.Image)+" is an address", "")
		assert.NotContains(b, asked.Replace(err.Error()), "127.0.0.1", "addresses that names resolve to are not passed on")
	}
	return command, err
}

func read(secret corev1.Secret) ociimage.PullSecret {
	return ociimage.ParsePullSecret(context.Background(), secret)
}

func pullSecret(host, username, password string) ociimage.PullSecret {
	content, _ := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(username + ":" + password))}}})
	return read(corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "pull-" + username}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: content}})
}

func TestAPrivateRegistryWithPasswords(t *testing.T) {
	b := newBench(t)
	at := b.registry(registrytest.Options{Name: "registry.test", Authority: b.authority, User: user, Password: canary})
	app := b.push(at, "team/app:1", image(t, []string{"/app", "--x"}, "serve"))
	good, bad := pullSecret(at.Host, user, canary), pullSecret(at.Host, "other", "wrong")
	legacy := read(corev1.Secret{Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{
		corev1.DockerConfigKey: fmt.Appendf(nil, `{"https://%s":{"username":%q,"password":%q}}`, at.Host, user, canary)}})
	for name, secrets := range map[string][]ociimage.PullSecret{"by a pull secret": {good}, "by the second": {bad, good}, "of the old kind": {legacy},
		"after one that is broken": {read(corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte("{")}}), good}} {
		command, err := b.ask(ociimage.Query{Image: app, PullSecrets: secrets})
		require.NoError(t, err, name)
		assert.Equal(t, ociimage.Command{Entrypoint: []string{"/app", "--x"}, Cmd: []string{"serve"}}, command, name)
	}
	for says, secrets := range map[string][]ociimage.PullSecret{
		"answered 401 UNAUTHORIZED to anonymous":                  nil,
		"answered 401 UNAUTHORIZED to the pull secret pull-other": {bad},
		"401 UNAUTHORIZED to anonymous":                           {pullSecret("elsewhere.test", user, canary)},
	} {
		_, err := b.ask(ociimage.Query{Image: app, PullSecrets: secrets})
		assert.Equal(t, fault.Denied, fault.KindOf(err))
		assert.ErrorContains(t, err, says, "what others may see is not answered from memory")
	}
	_, err := b.ask(ociimage.Query{Image: at.Host + "/team/app:gone", PullSecrets: []ociimage.PullSecret{good}})
	assert.Equal(t, fault.NotFound, fault.KindOf(err))
	assert.ErrorContains(t, err, "404 MANIFEST_UNKNOWN")
}

func TestARegistryWithTokens(t *testing.T) {
	b := newBench(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	self := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, self, self, key.Public(), key)
	require.NoError(t, err)
	var granted atomic.Int32
	service := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		username, password, _ := r.BasicAuth()
		if username != user || password != canary {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		granted.Add(1)
		access := []map[string]any{}
		for _, scope := range r.URL.Query()["scope"] {
			parts := strings.Split(scope, ":")
			access = append(access, map[string]any{"type": parts[0], "name": parts[1], "actions": strings.Split(parts[2], ",")})
		}
		token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": "test", "sub": user, "aud": "registry", "exp": time.Now().Add(time.Minute).Unix(),
			"nbf": time.Now().Add(-time.Minute).Unix(), "iat": time.Now().Unix(), "jti": rand.Text(), "access": access})
		token.Header["x5c"] = []string{base64.StdEncoding.EncodeToString(der)}
		signed, err := token.SignedString(key)
		assert.NoError(t, err)
		_ = json.NewEncoder(w).Encode(map[string]string{"token": signed})
	}))
	service.TLS = &tls.Config{Certificates: []tls.Certificate{b.authority.IssueCertificate(t, "auth.test")}, MinVersion: tls.VersionTLS12}
	service.StartTLS()
	t.Cleanup(service.Close)
	b.is("auth.test", loopback)
	_, port, err := net.SplitHostPort(service.Listener.Addr().String())
	require.NoError(t, err)
	at := b.registry(registrytest.Options{Name: "tokens.test", Authority: b.authority, TokenRealm: "https://auth.test:" + port + "/token",
		TokenCertificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})})
	push := []remote.Option{remote.WithAuth(&authn.Basic{Username: user, Password: canary}), remote.WithTransport(b.authority.Transport(func(to string) string {
		if strings.HasPrefix(to, "auth.test") {
			return service.Listener.Addr().String()
		}
		return at.Address
	}))}
	require.NoError(t, remote.Write(b.reference(at.Host+"/app:1"), image(t, []string{"/app"}), push...))
	granted.Store(0)
	command, err := b.ask(ociimage.Query{Image: at.Host + "/app:1", PullSecrets: []ociimage.PullSecret{pullSecret(at.Host, user, canary)}})
	require.NoError(t, err)
	assert.Equal(t, []string{"/app"}, command.Entrypoint)
	assert.EqualValues(t, 1, granted.Load())
	_, err = b.ask(ociimage.Query{Image: at.Host + "/app:1"})
	assert.Equal(t, fault.Denied, fault.KindOf(err))
	// The token service has an address that a registry must not have.
	b.images, b.transport.AllowedNetworks = nil, nil
	_, err = b.ask(ociimage.Query{Image: at.Host + "/app:1"})
	b.unreachable(err, at.Host, "a registry must not have")
}

// index is one of several platforms, with an attestation as builders add it.
func index(t *testing.T, images map[string]v1.Image) v1.ImageIndex {
	t.Helper()
	all := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for platform, one := range images {
		system, architecture, _ := strings.Cut(platform, "/")
		all = mutate.AppendManifests(all, mutate.IndexAddendum{Add: mutate.MediaType(one, types.OCIManifestSchema1),
			Descriptor: v1.Descriptor{MediaType: types.OCIManifestSchema1, Platform: &v1.Platform{OS: system, Architecture: architecture}}})
	}
	return mutate.AppendManifests(all, mutate.IndexAddendum{Add: mutate.MediaType(image(t, []string{"/attestation"}), types.OCIManifestSchema1),
		Descriptor: v1.Descriptor{MediaType: types.OCIManifestSchema1, Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"},
			Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"}}})
}

func TestImagesOfSeveralPlatforms(t *testing.T) {
	b := newBench(t)
	at := b.registry(registrytest.Options{Name: "registry.test", Authority: b.authority})
	same := map[string]v1.Image{"linux/amd64": image(t, []string{"/app"}), "linux/arm64": mutate.Annotations(image(t, []string{"/app"}), map[string]string{"a": "b"}).(v1.Image),
		"windows/amd64": image(t, []string{"app.exe"})}
	differ := map[string]v1.Image{"linux/amd64": image(t, []string{"/app"}), "linux/arm64": image(t, []string{"/app-arm"})}
	require.NoError(t, remote.WriteIndex(b.reference(at.Host+"/same:1"), index(t, same), b.pusher(at)...))
	require.NoError(t, remote.WriteIndex(b.reference(at.Host+"/differ:1"), index(t, differ), b.pusher(at)...))
	for _, c := range []struct{ image, architecture, entrypoint, says string }{
		{"same:1", "", "/app", ""}, {"same:1", "arm64", "/app", ""}, {"differ:1", "amd64", "/app", ""}, {"differ:1", "arm64", "/app-arm", ""},
		{"differ:1", "", "", "kubernetes.io/arch in the pod's nodeSelector"}, {"same:1", "s390x", "", "no manifest for the pod's platform (linux/s390x)"},
	} {
		command, err := b.ask(ociimage.Query{Image: at.Host + "/" + c.image, Architecture: c.architecture})
		if c.says != "" {
			assert.ErrorContains(t, err, c.says)
			continue
		}
		require.NoError(t, err, "%v", c)
		assert.Equal(t, []string{c.entrypoint}, command.Entrypoint, "%v", c)
	}
}

func TestManifestsOfBothKindsAndDigests(t *testing.T) {
	b := newBench(t)
	at := b.registry(registrytest.Options{Name: "registry.test", Authority: b.authority})
	docker, oci := mutate.MediaType(image(t, nil, "docker"), types.DockerManifestSchema2), mutate.MediaType(image(t, nil, "oci"), types.OCIManifestSchema1)
	for want, content := range map[string]v1.Image{"docker": docker, "oci": mutate.ConfigMediaType(oci, types.OCIConfigJSON)} {
		tagged := b.push(at, want+":1", content)
		digest, err := content.Digest()
		require.NoError(t, err)
		for _, image := range []string{tagged, at.Host + "/" + want + "@" + digest.String(), tagged + "@" + digest.String()} {
			command, err := b.ask(ociimage.Query{Image: image})
			require.NoError(t, err)
			assert.Equal(t, ociimage.Command{Cmd: []string{want}}, command)
		}
	}
}

func TestWhatWasSeenIsRemembered(t *testing.T) {
	b := newBench(t)
	at := b.registry(registrytest.Options{Name: "registry.test", Authority: b.authority})
	tag := b.push(at, "app:1", image(t, nil, "one"))
	digest, err := image(t, nil, "one").Digest()
	require.NoError(t, err)
	pinned := at.Host + "/app@" + digest.String()
	is := func(image, want string) {
		t.Helper()
		command, err := b.ask(ociimage.Query{Image: image})
		require.NoError(t, err)
		assert.Equal(t, []string{want}, command.Cmd)
	}
	var group sync.WaitGroup
	b.ask(ociimage.Query{Image: pinned}) //nolint:errcheck // makes the reader
	for range 20 {
		group.Go(func() { is(tag, "one") })
	}
	group.Wait()
	b.push(at, "app:1", image(t, nil, "two"))
	is(tag, "one")
	b.now = b.now.Add(61 * time.Second)
	is(tag, "two")
	b.mu.Lock()
	delete(b.names, "registry.test")
	b.mu.Unlock()
	at.Stop()
	b.ask(ociimage.Query{Image: at.Host + "/other:1"}) //nolint:errcheck // ends the connection that was kept
	is(tag, "two")
	b.now = b.now.Add(24 * time.Hour)
	is(pinned, "one")
	_, err = b.ask(ociimage.Query{Image: tag})
	b.unreachable(err, at.Host, "does not resolve")
	assert.Equal(t, fault.Unavailable, fault.KindOf(err))
}

func TestAzuresRegistriesTakeTheIdentityOfTheInstallation(t *testing.T) {
	b := newBench(t)
	azure := azuretest.Start(t)
	counts := map[string]int{}
	server := &acr.Server{Tokens: azure.Directory, Images: acr.NewImageRegistry(), Count: func(name string) { counts[name]++ }}
	server.AllowPull("mine", azuretest.AppObjectID)
	server.AllowPull("others")
	front := httptest.NewUnstartedServer(server)
	front.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		certificate := b.authority.IssueCertificate(t, hello.ServerName)
		return &certificate, nil
	}, MinVersion: tls.VersionTLS12}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.83.19.7:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	_ = front.Listener.Close()
	front.Listener = listener
	front.StartTLS()
	t.Cleanup(front.Close)
	require.NoError(t, server.PutImage("app", "1", acr.Image{Entrypoint: []string{"/app"}}))

	public, err := cloud.Parse("")
	require.NoError(t, err)
	values := map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID, "AZURE_CLIENT_SECRET": azure.AppSecret}
	token, err := credential.New(credential.Config{Mode: credential.ModeEnvironment, Cloud: public, Transport: azure.Client, Clock: time.Now, ReadFile: os.ReadFile,
		LookupEnv: func(name string) (string, bool) { value, ok := values[name]; return value, ok }})
	require.NoError(t, err)
	here := netip.MustParseAddr("127.83.19.7")
	b.transport.AllowedNetworks = []netip.Prefix{only(here)}
	b.httpsPort = port // the host of an image of Azure has no port
	transport := b.newTransport()
	exchange := ociimage.NewAzureRegistries(ociimage.AzureRegistries{Credential: token, Suffix: public.RegistrySuffix, Transport: transport, Clock: time.Now})
	b.config.Azure = exchange
	for _, host := range []string{"mine.azurecr.io", "others.azurecr.io", "mine.azurecr.io.evil.test"} {
		b.is(host, here)
	}
	for range 3 {
		command, err := b.ask(ociimage.Query{Image: "mine.azurecr.io/app:1"})
		require.NoError(t, err)
		assert.Equal(t, []string{"/app"}, command.Entrypoint)
		b.now = b.now.Add(time.Hour)
	}
	assert.Equal(t, 1, counts["registry mine exchange 200"], "the token is used again")
	_, err = b.ask(ociimage.Query{Image: "others.azurecr.io/app:1"})
	assert.ErrorContains(t, err, "401")
	assert.ErrorContains(t, err, "the identity of the env-injector")
	for host, hosts := range map[string]bool{"mine.azurecr.io": true, "MINE-abc.azurecr.io": true, "mine.azurecr.io.evil.test": false, "evil.test": false, "azurecr.io": false,
		"a/b.azurecr.io": false, "evilazurecr.io": false, "mine.azurecr.io:5000": false, "mine.azurecr.us": false} {
		assert.Equal(t, hosts, exchange.HasRegistry(host), host)
	}
	// Only an Azure container registry receives a token of the identity.
	_, err = b.ask(ociimage.Query{Image: "mine.azurecr.io.evil.test/app:1"})
	require.Error(t, err)
	assert.Zero(t, counts["registry mine exchange 401"])
}

func TestReferencesOfAnImagesOwnEnvironmentAreFound(t *testing.T) {
	b := newBench(t)
	private := b.registry(registrytest.Options{Name: "env.test", Authority: b.authority})
	made, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", Config: v1.Config{Entrypoint: []string{"/app"},
		Env: []string{"PATH=/bin", "DB=db@azurekeyvault?password", "ODD=a b@azurekeyvault", "TEXT=" + canary, "EMPTY"}}})
	require.NoError(t, err)
	command, err := b.ask(ociimage.Query{Image: b.push(private, "app:1", made)})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"DB": "db@azurekeyvault?password", "ODD": "a b@azurekeyvault"}, command.References, "and nothing else of it is kept")
}

func TestStrangersCannotMakeUsAskInside(t *testing.T) {
	b := newBench(t)
	var reached atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		_, _ = w.Write([]byte(canary))
	}))
	t.Cleanup(inside.Close)
	_, port, err := net.SplitHostPort(inside.Listener.Addr().String())
	require.NoError(t, err)
	b.transport.AllowedNetworks = nil
	b.transport.ClusterNetworks = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}
	// A replica of the API server that came a moment ago.
	replica := ""
	b.transport.IsForbidden = func(to netip.AddrPort) bool {
		return to.Addr() == netip.MustParseAddr("10.96.0.1") || to.String() == replica
	}
	b.transport.PlainHTTP = []string{"*"}
	b.config.Registries.PlainHTTP = []string{"*"}
	for host, address := range map[string]string{"localhost.test": "127.0.0.1", "imds.test": "169.254.169.254", "wire.test": "168.63.129.16", "any.test": "0.0.0.0", "api.test": "10.96.0.1",
		"v6.test": "::1", "link.test": "fe80::1", "mapped.test": "::ffff:127.0.0.1", "nat64.test": "64:ff9b::a9fe:a9fe", "multicast.test": "224.0.0.1",
		"aws.test": "fd00:ec2::254", "ecs.test": "169.254.170.2", "alibaba.test": "100.100.100.200", "oracle.test": "192.0.0.192", "zero.test": "0.1.2.3",
		"six-to-four.test": "2002:a9fe:a9fe::1", "teredo.test": "2001::a9fe:a9fe", "compatible.test": "::a9fe:a9fe", "translated.test": "::ffff:0:169.254.169.254",
		"private-v6.test": "fd12:3456::1", "local-nat64.test": "64:ff9b:1::a9fe:a9fe", "site.test": "fec0::1", "class-e.test": "240.0.0.1", "pod.test": "10.244.3.4"} {
		b.is(host, netip.MustParseAddr(address))
		_, err := b.ask(ociimage.Query{Image: host + ":" + port + "/app:1"})
		b.unreachable(err, host+":"+port, "a registry must not have")
		b.images = nil // the log has a limit
		literal := netip.AddrPortFrom(netip.MustParseAddr(address), 5000).String()
		_, err = b.ask(ociimage.Query{Image: literal + "/app:1"})
		require.Error(t, err, literal)
		if fault.KindOf(err) != fault.Invalid { // IPv6 in names of images
			assert.ErrorContains(t, err, literal+" is an address that a registry must not have; if it is intended, add it to the value env_injector.registries.local")
		}
		b.images = nil
	}
	b.is("metadata.google.internal", netip.MustParseAddr("198.18.0.9"))
	_, err = b.ask(ociimage.Query{Image: "metadata.google.internal/app:1"})
	b.unreachable(err, "metadata.google.internal", "a registry must not have")
	b.is("replica.test", netip.MustParseAddr("198.18.0.7"))
	replica = "198.18.0.7:" + port
	_, err = b.ask(ociimage.Query{Image: "replica.test:" + port + "/app:1"})
	b.unreachable(err, "replica.test:"+port, "a registry must not have")
	_, err = b.ask(ociimage.Query{Image: replica + "/app:1"})
	assert.ErrorContains(t, err, "a registry must not have")
	replica = "198.18.0.7:443"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://198.18.0.7/v2/", nil)
	require.NoError(t, err)
	_, err = ociimage.NewTransport(b.transport).RoundTrip(request)
	assert.ErrorContains(t, err, "a registry must not have")
	for _, image := range []string{"127.0.0.1:" + port + "/app:1", "[::1]:" + port + "/app:1", "169.254.169.254/app:1"} {
		_, err := b.ask(ociimage.Query{Image: image})
		assert.Error(t, err, image)
	}
	assert.Zero(t, reached.Load())
}

func TestADetourIsGuardedToo(t *testing.T) {
	b := newBench(t)
	var inside atomic.Int32
	secret := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside.Add(1) }))
	t.Cleanup(secret.Close)
	outside := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, map[string]string{"/v2/": "/fine", "/v2/plain/manifests/1": "http://plain.test/", "/v2/inside/manifests/1": secret.URL}[r.URL.Path], http.StatusTemporaryRedirect)
	}))
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.83.19.8:0")
	require.NoError(t, err)
	_ = outside.Listener.Close()
	outside.Listener = listener
	outside.TLS = &tls.Config{Certificates: []tls.Certificate{b.authority.IssueCertificate(t, "outside.test")}, MinVersion: tls.VersionTLS12}
	outside.StartTLS()
	t.Cleanup(outside.Close)
	outsider := netip.MustParseAddr("127.83.19.8")
	b.is("outside.test", outsider)
	b.transport.AllowedNetworks = []netip.Prefix{only(outsider)}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	for _, path := range []string{"plain", "inside"} {
		_, err = b.ask(ociimage.Query{Image: "outside.test:" + port + "/" + path + ":1"})
		assert.Error(t, err, path)
	}
	assert.Zero(t, inside.Load())
}

func TestWhichRegistriesAndHow(t *testing.T) {
	b := newBench(t)
	plain := b.registry(registrytest.Options{Name: "plain.test"})
	mirror := b.registry(registrytest.Options{Name: "mirror.test", Authority: b.authority})
	app := b.push(plain, "app:1", image(t, nil, "plain"))
	b.push(mirror, "hub/library/busybox:1", image(t, nil, "mirrored"))
	_, err := b.ask(ociimage.Query{Image: app})
	b.unreachable(err, plain.Host, "registries.plainHTTP")
	b.images, b.transport.PlainHTTP = nil, []string{plain.Host}
	b.config.Registries = ociimage.Registries{PlainHTTP: []string{plain.Host}, Mirrors: map[string][]string{"docker.io": {"gone.test", mirror.Host + "/hub"}},
		Allowed: []string{"plain.test:*", "index.docker.io"}}
	for image, want := range map[string]string{app: "plain", "busybox:1": "mirrored"} {
		command, err := b.ask(ociimage.Query{Image: image})
		require.NoError(t, err)
		assert.Equal(t, []string{want}, command.Cmd)
	}
	_, err = b.ask(ociimage.Query{Image: mirror.Host + "/hub/library/busybox:1"})
	assert.Equal(t, fault.Denied, fault.KindOf(err))
	assert.ErrorContains(t, err, "env_injector.registries.allow")
	_, err = b.ask(ociimage.Query{Image: "Not an image"})
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.Error(t, ociimage.CheckHostPatterns([]string{"["}))
	_, err = ociimage.New(ociimage.Config{})
	assert.Error(t, err)
}

func TestARegistryThatAnswersNonsense(t *testing.T) {
	b := newBench(t)
	answers := map[string]func(w http.ResponseWriter){
		"huge": func(w http.ResponseWriter) {
			fmt.Fprintf(w, `{"x":%q}`, strings.Repeat("x", limits.ImageManifestBytes))
		},
		"intricate": func(w http.ResponseWriter) {
			fmt.Fprint(w, `{"layers":[{}`+strings.Repeat(",{}", limits.ImageAnswerElements)+`]}`)
		},
		"deep": func(w http.ResponseWriter) { fmt.Fprint(w, strings.Repeat("[", 100)+strings.Repeat("]", 100)) },
		"challenge": func(w http.ResponseWriter) {
			w.Header().Set("WWW-Authenticate", strings.Repeat("a", 5<<10))
			w.WriteHeader(401)
		},
		"headers": func(w http.ResponseWriter) {
			w.Header().Set("X", strings.Repeat("a", 2*limits.ImageHeaderBytes))
			w.WriteHeader(404)
			fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`)
		},
		"html": func(w http.ResponseWriter) { fmt.Fprint(w, "<html>"+canary) },
		"fails": func(w http.ResponseWriter) {
			w.WriteHeader(500)
			fmt.Fprint(w, `{"errors":[{"code":"`+canary+`","message":"`+canary+`"}]}`)
		},
		"cut":  func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"slow": func(http.ResponseWriter) { time.Sleep(time.Second) },
		"many": func(w http.ResponseWriter) { w.WriteHeader(429) },
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		if parts := strings.Split(r.URL.Path, "/"); len(parts) > 3 {
			answers[parts[2]](w)
		}
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{b.authority.IssueCertificate(t, "odd.test")}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	b.is("odd.test", loopback)
	b.is("other.test", loopback)
	b.config.Timeout = 700 * time.Millisecond
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	for name, cause := range map[string]string{"huge": "the answer is too long", "intricate": "too many JSON elements", "deep": "too many JSON elements",
		"challenge": "WWW-Authenticate headers are too long", "headers": "could not be parsed", "html": "could not be parsed",
		"cut": "closed the connection before the answer was complete", "slow": "did not answer in time"} {
		_, err := b.ask(ociimage.Query{Image: "odd.test:" + port + "/" + name + ":1"})
		assert.Equal(t, fault.Unavailable, fault.KindOf(err), "%s: %v", name, err)
		b.unreachable(err, "odd.test:"+port, cause)
	}
	for name, kind := range map[string]fault.Kind{"fails": fault.Unavailable, "many": fault.Throttled} {
		_, err := b.ask(ociimage.Query{Image: "odd.test:" + port + "/" + name + ":1"})
		assert.Equal(t, kind, fault.KindOf(err), "%s: %v", name, err)
		assert.ErrorContains(t, err, "the registry odd.test:"+port+" answered ")
	}
	_, err = b.ask(ociimage.Query{Image: "other.test:" + port + "/x:1"})
	b.unreachable(err, "other.test:"+port, "another host name")
	b.images, b.transport.Roots = nil, x509.NewCertPool()
	_, err = b.ask(ociimage.Query{Image: "odd.test:" + port + "/x:1"})
	b.unreachable(err, "odd.test:"+port, "global.extraCACertificates")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = b.images.ReadCommand(ctx, ociimage.Query{Image: "odd.test:" + port + "/slow:1", OS: "linux"})
	b.unreachable(err, "odd.test:"+port, "within the time that the API server allows")
}
