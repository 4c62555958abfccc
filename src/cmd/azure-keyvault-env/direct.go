package main

import (
	"context"
	"os"
	"time"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/injector"
	"github.com/akv2k8s/akv2k8s/src/injector/akvsclient"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/keyvault/gateway"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
	"github.com/akv2k8s/akv2k8s/src/resolver"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

var (
	_ injector.Resolver = direct{}
	_ resolver.Source   = direct{}
)

// cloudConfigFile is where a pod mounts the node's file to authenticate as the node.
const cloudConfigFile = "/etc/kubernetes/azure.json"

// shared is the maximum age of a vault object that several references share. It is longer than a start takes, and
// shorter than the injector's wait before a retry, so that a retry does not get the error of the first attempt.
const shared = 2 * time.Second

// direct reads resources and vaults with the pod's own credentials.
type direct struct {
	resources *akvsclient.Client
	vault     *gateway.Gateway
}

// newDirect reads and checks the pod's settings and credentials. It makes no network calls.
func newDirect(get func(string) string) (injector.Resolver, error) {
	if err := circular(get); err != nil {
		return nil, err
	}
	ca, _ := os.ReadFile(wire.CAPath)
	namespace, _ := os.ReadFile(wire.NamespacePath)
	resources, err := akvsclient.New(akvsclient.Config{Host: get("KUBERNETES_SERVICE_HOST"),
		Port: get("KUBERNETES_SERVICE_PORT"),
		CA:   ca, Namespace: string(namespace), Token: injector.Token})
	if err != nil {
		return nil, err
	}
	auth := get(wire.EnvAuthType)
	if auth == "" {
		auth = string(credential.Environment)
	}
	lookup := func(name string) (string, bool) { value := get(name); return value, value != "" }
	vault, err := gateway.Load(gateway.Config{Auth: auth, CloudConfigFile: cloudConfigFile,
		ExtraCAs: []byte(get(wire.EnvExtraCAs)),
		Cloud:    get(wire.EnvCloud), Lookup: lookup, Keep: shared})
	if err != nil {
		return nil, err
	}
	return direct{resources, vault}, nil
}

// circular rejects credentials that are references: Key Vault can't be read without them.
func circular(get func(string) string) error {
	for _, name := range credential.Variables() {
		if envref.Meant(get(name)) {
			return fault.Advise(fault.Invalid, "set its value from a Kubernetes Secret",
				"%s refers to Key Vault, but Key Vault is read with it", name)
		}
	}
	return nil
}

// Resolve implements injector.Resolver.
func (d direct) Resolve(ctx context.Context, references map[string]string) (map[string][]byte, error) {
	return resolver.Resolve(ctx, d, references)
}

// Recipe implements resolver.Source.
func (d direct) Recipe(ctx context.Context, name string) (recipe.Recipe, error) {
	content, err := d.resources.Fetch(ctx, name)
	if err != nil {
		return recipe.Recipe{}, err
	}
	return fromapi.Parse(content)
}

// Object implements resolver.Source.
func (d direct) Object(ctx context.Context, _ recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error) {
	return d.vault.Read(ctx, ref, shared)
}
