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
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
	"github.com/akv2k8s/akv2k8s/src/resolver"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

var (
	_ injector.Resolver = directResolver{}
	_ resolver.Source   = directResolver{}
)

// cloudConfigFile is where a pod mounts the node's file to authenticate as the node.
const cloudConfigFile = "/etc/kubernetes/azure.json"

// maxSharedAge is the maximum age of a vault object that several references share. It is longer than a start takes, and
// shorter than the injector's wait before a retry, so that a retry does not get the error of the first attempt.
const maxSharedAge = 2 * time.Second

// directResolver reads resources and vaults with the pod's own credentials.
type directResolver struct {
	resources *akvsclient.Client
	vault     *vaultclient.Client
}

// newDirectResolver reads and checks the pod's settings and credentials. It makes no network calls.
func newDirectResolver(get func(string) string) (injector.Resolver, error) {
	if err := checkNoSelfReference(get); err != nil {
		return nil, err
	}
	ca, _ := os.ReadFile(wire.CAPath)
	namespace, _ := os.ReadFile(wire.NamespacePath)
	resources, err := akvsclient.New(akvsclient.Config{Host: get("KUBERNETES_SERVICE_HOST"),
		Port: get("KUBERNETES_SERVICE_PORT"),
		CA:   ca, Namespace: string(namespace), Token: injector.ReadToken})
	if err != nil {
		return nil, err
	}
	auth := get(wire.EnvAuthType)
	if auth == "" {
		auth = string(credential.ModeEnvironment)
	}
	lookup := func(name string) (string, bool) { value := get(name); return value, value != "" }
	vault, err := vaultclient.New(vaultclient.Config{AuthType: auth, CloudConfigFile: cloudConfigFile,
		ExtraCAs: []byte(get(wire.EnvExtraCAs)),
		Cloud:    get(wire.EnvCloud), LookupEnv: lookup, CacheTTL: maxSharedAge})
	if err != nil {
		return nil, err
	}
	return directResolver{resources, vault}, nil
}

// checkNoSelfReference rejects credentials that are references: Key Vault can't be read without them.
func checkNoSelfReference(get func(string) string) error {
	for _, name := range credential.EnvironmentVariables() {
		if envref.IsIntendedReference(get(name)) {
			return fault.NewWithNextStep(fault.Invalid, "set its value from a Kubernetes Secret",
				"%s refers to Key Vault, but Key Vault is read with it", name)
		}
	}
	return nil
}

// Resolve implements injector.Resolver.
func (d directResolver) Resolve(ctx context.Context, references map[string]string) (map[string][]byte, error) {
	return resolver.Resolve(ctx, d, references)
}

// ReadResource implements resolver.Source.
func (d directResolver) ReadResource(ctx context.Context, name string) (recipe.Recipe, error) {
	content, err := d.resources.FetchResource(ctx, name)
	if err != nil {
		return recipe.Recipe{}, err
	}
	return fromapi.Parse(content)
}

// ReadObject implements resolver.Source.
func (d directResolver) ReadObject(ctx context.Context, _ recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error) {
	return d.vault.Read(ctx, ref, maxSharedAge)
}
