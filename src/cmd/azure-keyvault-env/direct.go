package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"time"

	"github.com/akv2k8s/akv2k8s/src/broker/client"
	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/injector"
	"github.com/akv2k8s/akv2k8s/src/injector/akvsclient"
	"github.com/akv2k8s/akv2k8s/src/injector/filesync"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
	"github.com/akv2k8s/akv2k8s/src/resolver"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

var (
	_ injector.Resolver = directResolver{}
	_ resolver.Source   = directResolver{}
)

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
	return newDirectSource(get)
}

func newDirectSource(get func(string) string) (directResolver, error) {
	if err := checkNoSelfReference(get); err != nil {
		return directResolver{}, err
	}
	ca, _ := os.ReadFile(wire.CAPath)
	namespace, _ := os.ReadFile(wire.NamespacePath)
	resources, err := akvsclient.New(akvsclient.Config{Host: get("KUBERNETES_SERVICE_HOST"),
		Port: get("KUBERNETES_SERVICE_PORT"),
		CA:   ca, Namespace: string(namespace), Token: injector.ReadToken})
	if err != nil {
		return directResolver{}, err
	}
	auth := get(wire.EnvAuthType)
	if auth == "" {
		auth = string(credential.ModeEnvironment)
	}
	lookup := func(name string) (string, bool) { value := get(name); return value, value != "" }
	vault, err := vaultclient.New(vaultclient.Config{AuthType: auth, CloudConfigFile: wire.CloudConfigPath,
		ExtraCAs: []byte(get(wire.EnvExtraCAs)),
		Cloud:    get(wire.EnvCloud), LookupEnv: lookup, CacheTTL: maxSharedAge})
	if err != nil {
		return directResolver{}, err
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

// directFileSource resolves the files of a pod, and tells whether they have changed.
type directFileSource struct {
	newSource func() (resolver.Source, error)
	wanted    wire.PodFiles
	// key is for the hash of the files. It is another one in each process.
	key []byte
}

// newDirectFileSource creates the source of files for a pod that reads vaults itself.
func newDirectFileSource(get func(string) string) (injector.FileSource, error) {
	wanted, err := filesync.ParsePodFiles(get(wire.EnvFiles))
	if err != nil {
		return nil, err
	}
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	// A new one for each request, because credentials and certificates in files are replaced while the process runs.
	newSource := func() (resolver.Source, error) { return newDirectSource(get) }
	if _, err := newSource(); err != nil {
		return nil, err
	}
	return directFileSource{newSource, wanted, key}, nil
}

// Files implements injector.FileSource.
func (d directFileSource) Files(ctx context.Context, etag string) (client.FilesAnswer, error) {
	source, err := d.newSource()
	if err != nil {
		return client.FilesAnswer{}, err
	}
	files, err := resolver.Resolver{Source: source}.ResolveFiles(ctx, d.wanted, limits.FilesRefreshDefault)
	if err != nil {
		return client.FilesAnswer{}, err
	}
	answer := client.FilesAnswer{ETag: hex.EncodeToString(files.Hash(d.key)),
		RefreshAfter: files.RefreshAfter(d.wanted)}
	if answer.IsUnchanged = answer.ETag == etag; answer.IsUnchanged {
		return answer, nil
	}
	answer.Directories = map[string]map[string]wire.FileContent{}
	for directory, entries := range files.Directories {
		answer.Directories[directory] = map[string]wire.FileContent{}
		for name, file := range entries {
			answer.Directories[directory][name] = wire.FileContent{Content: file.Content, Mode: uint32(file.Mode)}
		}
	}
	return answer, nil
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
