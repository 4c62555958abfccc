package azurecli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
)

// Socket is the variable that names the stand-in's socket to its program.
const Socket = "AZURECLI_SOCKET"

// Emulator is what the stand-in changes.
type Emulator interface {
	// Seed adds principals.
	Seed(ctx context.Context, seed emulator.Seed) error
	// Permit says what a principal may do in a vault.
	Permit(ctx context.Context, vault, objectID string, operations ...string) error
	// PutSecret, PutCertificate and PutKey add a version of an object.
	PutSecret(ctx context.Context, vault, name string, secret keyvault.Secret) error
	PutCertificate(ctx context.Context, vault, name string, c keyvault.Certificate) error
	PutKey(ctx context.Context, vault, name string, k keyvault.Key) error
}

// Cluster is the one AKS cluster of the subscription.
type Cluster struct {
	// Name of the cluster, which is that of its context in the kubeconfig.
	Name string
	// KubeletClientID and KubeletObjectID are of the identity of its nodes.
	KubeletClientID, KubeletObjectID string
	// Issuer of tokens of ServiceAccounts, and its public key, PEM.
	Issuer, IssuerKey string
}

// Azure is what there is. It is safe for concurrent use.
type Azure struct {
	// Emulator is changed.
	Emulator Emulator
	// Tenant is the directory's id.
	Tenant string
	// Cluster is the one of the subscription.
	Cluster Cluster
	// Import copies an image into a registry, by the name that it gets there; nil if nobody pulls.
	Import func(ctx context.Context, source, image string) error

	mu           sync.Mutex
	groups       map[string]bool
	vaults       map[string]*vault
	applications map[string]*application
	identities   map[string]*identity
	registries   map[string]*registry
	refusals     []string
}

// New makes an empty subscription.
func New(e Emulator, tenant string, cluster Cluster) *Azure {
	return &Azure{Emulator: e, Tenant: tenant, Cluster: cluster, groups: map[string]bool{}, vaults: map[string]*vault{},
		applications: map[string]*application{}, identities: map[string]*identity{}, registries: map[string]*registry{}}
}

// Call is one call of az.
type Call struct {
	// Args are its arguments, without the program's name.
	Args []string `json:"args"`
	// Folder is the working directory.
	Folder string `json:"folder"`
}

// Answer is what az prints, and its exit code.
type Answer struct {
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
	Code   int    `json:"code"`
}

// notYet is an error that goes away by itself, so that commands repeat the call.
type notYet struct{ error }

// Run does what az does.
func (a *Azure) Run(ctx context.Context, call Call) Answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	out, err := a.runCommand(ctx, call)
	var later notYet
	switch {
	case err == nil:
		return Answer{Stdout: out}
	case !errors.As(err, &later):
		refusal := fmt.Sprintf("az %s: %v", strings.Join(call.Args, " "), err)
		if !slices.Contains(a.refusals, refusal) {
			a.refusals = append(a.refusals, refusal)
		}
	}
	return Answer{Stderr: "ERROR: " + err.Error() + "\n", Code: 1}
}

// runCommand finds the command and does it; the caller holds mu.
func (a *Azure) runCommand(ctx context.Context, call Call) (string, error) {
	c, o, err := parse(call)
	if err != nil {
		return "", err
	}
	result, err := c.do(a, ctx, o)
	if err != nil {
		return "", err
	}
	return o.print(result)
}

// Refusals are the calls that failed and that repeating does not help.
func (a *Azure) Refusals() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.refusals)
}

// Refused is an error if there are refusals.
func (a *Azure) Refused() error {
	if all := a.Refusals(); len(all) > 0 {
		return fmt.Errorf("refused: %s", strings.Join(all, "; "))
	}
	return nil
}

// Left is what commands made and did not remove.
func (a *Azure) Left() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var left []string
	for name := range a.groups {
		left = append(left, "group "+name)
	}
	for _, app := range a.applications {
		left = append(left, "application "+app.name)
	}
	for _, i := range a.identities {
		if len(i.assigned) > 0 {
			left = append(left, "assignment of identity "+i.name+" to nodes")
		}
	}
	slices.Sort(left)
	return left
}

// Forget empties the subscription, as a new test wants it; the emulator keeps what it has.
func (a *Azure) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.groups)
	clear(a.vaults)
	clear(a.applications)
	clear(a.identities)
	clear(a.registries)
	a.refusals = nil
}

// registerPrincipal makes the emulator know a principal; the caller holds mu.
func (a *Azure) registerPrincipal(ctx context.Context, p entra.Principal) error {
	return a.Emulator.Seed(ctx, emulator.Seed{Principals: []entra.Principal{p}})
}

// Serve answers the program az on a Unix socket until the context ends.
func (a *Azure) Serve(ctx context.Context, socket string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		var call Call
		if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(a.Run(r.Context(), call))
	}
	server := &http.Server{Handler: http.HandlerFunc(handler), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return nil
}

// Ask is what the program az does.
func Ask(socket string, call Call) (Answer, error) {
	var answer Answer
	if socket == "" {
		return answer, fmt.Errorf("%s is not set: it is the socket of the test's stand-in", Socket)
	}
	client := &http.Client{
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}},
	}
	body, err := json.Marshal(call)
	if err != nil {
		return answer, err
	}
	response, err := client.Post("http://stand-in/", "application/json", strings.NewReader(string(body)))
	if err != nil {
		return answer, err
	}
	defer func() { _ = response.Body.Close() }()
	return answer, json.NewDecoder(response.Body).Decode(&answer)
}
