package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/acr"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/cluster/image"
	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
	"github.com/akv2k8s/akv2k8s/tests/cluster/pki"
)

// azureName is the name of the emulator's namespace, Service and Deployment; the cluster's DNS leads Azure's names to
// it.
const azureName = "azure-emulator"

// The principals that every emulator starts with.
const (
	// KubeletObjectID is of the identity in the node's azure.json.
	KubeletObjectID = "22222222-2222-4222-8222-999999999999"
	// AppClientID and AppObjectID are of an application with a secret.
	AppClientID = "44444444-4444-4444-8444-444444444444"
	AppObjectID = "44444444-4444-4444-8444-999999999999"
	// AppSecret opens nothing but the emulator.
	AppSecret = "of-the-emulator-alone"
)

// Azure controls the emulator.
type Azure struct {
	// CA is the PEM of the authority that its certificates are of.
	CA string

	rest  rest.Interface
	mu    sync.Mutex
	seeds []emulator.Seed
}

// azure starts the emulator if it is not there, and waits until it answers.
func (s *Stage) azure(ctx context.Context) (*Azure, error) {
	if err := s.Namespace(ctx, azureName, nil); err != nil {
		return nil, err
	}
	var secret corev1.Secret
	there, err := exists(s.Client.Get(ctx, types.NamespacedName{Namespace: azureName, Name: azureName}, &secret))
	if err != nil {
		return nil, err
	}
	if !there {
		if secret, err = certificates(); err != nil {
			return nil, err
		}
		if err := s.Client.Create(ctx, &secret); err != nil {
			return nil, err
		}
	}
	digest, err := s.imageDigest()
	if err != nil {
		return nil, err
	}
	if err := s.Apply(ctx, azureName, s.azureManifest(digest)); err != nil {
		return nil, err
	}
	a := &Azure{CA: string(secret.Data["ca.crt"]), rest: s.Kube.CoreV1().RESTClient()}
	if err := a.Await(ctx); err != nil {
		return nil, err
	}
	return a, a.Seed(ctx, emulator.Seed{Principals: []entra.Principal{
		{Name: "kubelet", ClientID: local.KubeletIdentityClientID, ObjectID: KubeletObjectID, ManagedIdentity: "user"},
		{Name: "app", ClientID: AppClientID, ObjectID: AppObjectID, Secret: AppSecret},
	}})
}

// NodeIdentity is the identity that the product has by itself: that of the node, or the application on a foreign
// cluster.
func (s *Stage) NodeIdentity() (clientID, objectID string) {
	if s.registry != "" {
		return AppClientID, AppObjectID
	}
	return local.KubeletIdentityClientID, KubeletObjectID
}

// Image is the name of one of the test bed's images in this cluster.
func (s *Stage) Image(name string) string { return s.repository(name) + ":" + s.Version }

// ProductImage is the name of an image that users install.
func (s *Stage) ProductImage(name string) string {
	if s.FIPS {
		return s.Image(name) + image.FIPSSuffix
	}
	return s.Image(name)
}

func (s *Stage) repository(name string) string {
	if s.registry != "" {
		return s.registry + "/" + name
	}
	return image.Repository + name
}

// certificates makes a CA and a certificate for every name that the emulator serves.
func certificates() (corev1.Secret, error) {
	folder, err := os.MkdirTemp("", "emulator-")
	if err != nil {
		return corev1.Secret{}, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	ca, err := pki.NewAuthority(folder, "ca")
	if err != nil {
		return corev1.Secret{}, err
	}
	if err := ca.Issue(pki.Identity{File: "tls", Name: azureName, Hosts: azureHosts()}); err != nil {
		return corev1.Secret{}, err
	}
	if err := pki.ServiceAccountKeys(folder); err != nil { // a key of the kind that signs tokens
		return corev1.Secret{}, err
	}
	secret := corev1.Secret{Data: map[string][]byte{}}
	secret.Namespace, secret.Name = azureName, azureName
	for _, name := range []string{"ca.crt", "tls.crt", "tls.key", "sa.key"} {
		if secret.Data[name], err = os.ReadFile(filepath.Join(folder, name)); err != nil {
			return corev1.Secret{}, err
		}
	}
	return secret, nil
}

// Await waits until the emulator answers.
func (a *Azure) Await(ctx context.Context) error {
	return Await(ctx, time.Minute, "the emulator of Azure", func(ctx context.Context) error {
		return a.call(ctx, "GET", "healthz", nil, nil)
	})
}

// call asks the admin API through the API server.
func (a *Azure) call(ctx context.Context, verb, path string, body, into any) error {
	return a.request(ctx, a.path(verb, path), body, into)
}

func (a *Azure) path(verb, path string) *rest.Request {
	return a.rest.Verb(verb).AbsPath("/api/v1/namespaces/" + azureName + "/services/" + azureName + ":admin/proxy/" +
		path)
}

func (a *Azure) request(ctx context.Context, request *rest.Request, body, into any) error {
	if body != nil {
		content, err := json.Marshal(body)
		if err != nil {
			return err
		}
		request = request.SetHeader("Content-Type", "application/json").Body(content)
	}
	out, err := request.DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("asking the emulator for %s: %w", request.URL().Path, err)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(out, into)
}

// Seed adds principals, vaults and secrets.
func (a *Azure) Seed(ctx context.Context, seed emulator.Seed) error {
	a.mu.Lock()
	a.seeds = append(a.seeds, seed)
	a.mu.Unlock()
	return a.call(ctx, "POST", "seed", seed, nil)
}

// Vault makes a vault with secrets that the node's identity and the application may read.
func (a *Azure) Vault(ctx context.Context, name string, secrets map[string]string) error {
	reads := []string{"get", "list", "certificates/get", "certificates/list", "keys/get", "keys/list"}
	vault := emulator.VaultSeed{Permissions: map[string][]string{KubeletObjectID: reads, AppObjectID: reads},
		Secrets: map[string]keyvault.Secret{}}
	for secret, value := range secrets {
		vault.Secrets[secret] = keyvault.Secret{Value: value}
	}
	return a.Seed(ctx, emulator.Seed{Vaults: map[string]emulator.VaultSeed{name: vault}})
}

// Put adds a version of a secret.
func (a *Azure) Put(ctx context.Context, vault, name, value string) error {
	return a.PutSecret(ctx, vault, name, keyvault.Secret{Value: value})
}

// PutSecret adds a version of a secret with tags, dates and content type.
func (a *Azure) PutSecret(ctx context.Context, vault, name string, secret keyvault.Secret) error {
	return a.call(ctx, "PUT", "vaults/"+vault+"/secrets/"+name, secret, nil)
}

// PutCertificate adds a version of a certificate, with its key and its secret.
func (a *Azure) PutCertificate(ctx context.Context, vault, name string, c keyvault.Certificate) error {
	return a.call(ctx, "PUT", "vaults/"+vault+"/certificates/"+name, c, nil)
}

// PutKey adds a version of a key.
func (a *Azure) PutKey(ctx context.Context, vault, name string, k keyvault.Key) error {
	return a.call(ctx, "PUT", "vaults/"+vault+"/keys/"+name, k, nil)
}

// Act does "disable", "enable" or "delete" to a secret.
func (a *Azure) Act(ctx context.Context, vault, name, action string) error {
	return a.call(ctx, "POST", "vaults/"+vault+"/secrets/"+name+"/"+action, nil, nil)
}

// Permit says what a principal may do in a vault, from now on.
func (a *Azure) Permit(ctx context.Context, vault, objectID string, operations ...string) error {
	return a.call(ctx, "PUT", "vaults/"+vault+"/permissions/"+objectID, operations, nil)
}

// Registry is one of Azure's, from which only these principals may pull.
func (a *Azure) Registry(ctx context.Context, registry string, objectIDs ...string) error {
	return a.call(ctx, "PUT", "registries/"+registry+"/pull", objectIDs, nil)
}

// Image adds an image to all registries.
func (a *Azure) Image(ctx context.Context, repository, tag string, image acr.Image) error {
	return a.call(ctx, "PUT", "images/"+tag+"/"+repository, image, nil)
}

// Inject makes calls go wrong.
func (a *Azure) Inject(ctx context.Context, f keyvault.Fault) error {
	return a.call(ctx, "POST", "faults", f, nil)
}

// SetFirewall makes a vault deny all addresses, or stops that.
func (a *Azure) SetFirewall(ctx context.Context, vault string, closed bool) error {
	return a.call(ctx, "PUT", "vaults/"+vault+"/firewall", closed, nil)
}

// SetPrivateOnly makes a vault accept connections through a private endpoint only, of which it has none, or stops that.
func (a *Azure) SetPrivateOnly(ctx context.Context, vault string, closed bool) error {
	return a.call(ctx, "PUT", "vaults/"+vault+"/private", closed, nil)
}

// Heal ends the faults of one vault; tests that run beside each other must not end those of another.
func (a *Azure) Heal(ctx context.Context, vault string) error {
	return a.request(ctx, a.path("DELETE", "faults").Param("vault", vault), nil, nil)
}

// Counters are how often each kind of answer was given.
func (a *Azure) Counters(ctx context.Context) (map[string]int, error) {
	counters := map[string]int{}
	return counters, a.call(ctx, "GET", "counters", nil, &counters)
}

// ResetCounters sets them to zero.
func (a *Azure) ResetCounters(ctx context.Context) error {
	return a.call(ctx, "DELETE", "counters", nil, nil)
}

// Calls counts the answers of a vault to an operation with a status.
func (a *Azure) Calls(ctx context.Context, vault, operation, status string) (int, error) {
	counters, err := a.Counters(ctx)
	return counters[vault+" "+operation+" "+status], err
}

// Away stops the emulator; nobody answers to Azure's names any more.
func (s *Stage) Away(ctx context.Context) error { return s.scale(ctx, 0) }

// Back starts the emulator again, with what it was seeded with. Tokens that it signed before are still good.
func (s *Stage) Back(ctx context.Context) error {
	if err := s.scale(ctx, 1); err != nil {
		return err
	}
	if err := s.Azure.Await(ctx); err != nil {
		return err
	}
	for _, seed := range s.Azure.seeds {
		if err := s.Azure.call(ctx, "POST", "seed", seed, nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) scale(ctx context.Context, replicas int32) error {
	return s.Scale(ctx, types.NamespacedName{Namespace: azureName, Name: azureName}, replicas)
}

// Scale stops or starts a Deployment, and waits until its pods are gone or there.
func (s *Stage) Scale(ctx context.Context, name types.NamespacedName, replicas int32) error {
	deployment := &appsv1.Deployment{}
	deployment.Namespace, deployment.Name = name.Namespace, name.Name
	patch := client.RawPatch(types.MergePatchType, []byte(fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas)))
	if err := s.Client.Patch(ctx, deployment, patch); err != nil {
		return err
	}
	return Await(ctx, time.Minute, fmt.Sprintf("%s to have %d pods", name, replicas), func(ctx context.Context) error {
		var pods corev1.PodList
		if err := s.Client.List(ctx, &pods, inNamespace(name.Namespace),
			client.MatchingLabels(deployment.Spec.Selector.MatchLabels)); err != nil {
			return err
		}
		if len(pods.Items) != int(replicas) {
			return fmt.Errorf("there are %d pods", len(pods.Items))
		}
		return nil
	})
}

func inNamespace(name string) client.ListOption { return client.InNamespace(name) }
