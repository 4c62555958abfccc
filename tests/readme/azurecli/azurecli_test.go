package azurecli_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/readme/azurecli"
)

const tenant = "11111111-1111-4111-8111-111111111111"

// recorder keeps what the stand-in asks of the emulator.
type recorder struct {
	principals  map[string]entra.Principal
	permissions map[string][]string
	secrets     map[string]keyvault.Secret
	others      []string
}

func (r *recorder) Seed(_ context.Context, seed emulator.Seed) error {
	for _, p := range seed.Principals {
		r.principals[p.ClientID] = p
	}
	return nil
}

func (r *recorder) Permit(_ context.Context, vault, objectID string, operations ...string) error {
	r.permissions[vault+" "+objectID] = operations
	return nil
}

func (r *recorder) PutSecret(_ context.Context, vault, name string, secret keyvault.Secret) error {
	r.secrets[vault+" "+name] = secret
	return nil
}

func (r *recorder) PutCertificate(_ context.Context, vault, name string, _ keyvault.Certificate) error {
	r.others = append(r.others, vault+" certificate "+name)
	return nil
}

func (r *recorder) PutKey(_ context.Context, vault, name string, _ keyvault.Key) error {
	r.others = append(r.others, vault+" key "+name)
	return nil
}

// account is a subscription with a cluster, and how commands are run in it.
type account struct {
	*azurecli.Azure
	seen *recorder
	t    *testing.T
	dir  string
}

func open(t *testing.T) account {
	t.Helper()
	seen := &recorder{
		principals:  map[string]entra.Principal{},
		permissions: map[string][]string{},
		secrets:     map[string]keyvault.Secret{},
	}
	cluster := azurecli.Cluster{Name: "my-cluster", KubeletObjectID: "kubelet", Issuer: "https://issuer.example"}
	return account{azurecli.New(seen, tenant, cluster), seen, t, t.TempDir()}
}

// az runs a command; words are cut at spaces, and '~' stands for a space inside a word.
func (a account) az(line string) azurecli.Answer {
	args := strings.Fields(line)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "~", " ")
	}
	return a.Run(a.t.Context(), azurecli.Call{Args: args, Folder: a.dir})
}

// must runs a command that has to succeed, and gives what it printed.
func (a account) must(line string) string {
	a.t.Helper()
	answer := a.az(line)
	require.Zero(a.t, answer.Code, "%s: %s", line, answer.Stderr)
	return strings.TrimSpace(answer.Stdout)
}

// vault makes a vault into which the person may write secrets.
func (a account) vault(name string) (id string) {
	a.t.Helper()
	a.must("group create --name g --location westeurope")
	id = a.must(
		"keyvault create --name " + name + " --resource-group g --enable-rbac-authorization true --query id --output tsv",
	)
	me := a.must("ad signed-in-user show --query id --output tsv")
	a.must(
		"role assignment create --role Key~Vault~Secrets~Officer --scope " + id + " --assignee-object-id " + me +
			" --assignee-principal-type User",
	)
	require.Equal(
		a.t,
		1,
		a.az("keyvault secret set --vault-name "+name+" --name a --value b").Code,
		"the role is not in force at once",
	)
	return id
}

func TestWhatAzRefusesIsRefused(t *testing.T) {
	a := open(t)
	id := a.vault("kv-one")
	role := "role assignment create --scope " + id + " --assignee-principal-type ServicePrincipal"
	for line, said := range map[string]string{
		"keyvault secrets set --vault-name kv-one --name a --value b":                             "misspelled or not recognized",
		"keyvault secret set --vault-name kv-one --naam a --value b":                              "unrecognized arguments: --naam",
		"keyvault secret set --vault-name kv-one --name a b --value c":                            "unrecognized arguments: b",
		"keyvault secret set -n a --vault-name kv-one --value b":                                  "unrecognized arguments: -n",
		"keyvault secret set --vault-name kv-one --value b":                                       "required: --name",
		"keyvault secret set --vault-name kv-one --name --value b":                                "--name: expected at least one argument",
		"keyvault secret set --vault-name kv-one --name a":                                        "either --value or --file",
		"keyvault secret set --vault-name kv-one --name a.b --value c":                            "is not a name",
		"keyvault secret set --vault-name kv-two --name a --value b":                              "vault 'kv-two' not found",
		"keyvault secret set --vault-name kv-one --name a --value -b":                             "unrecognized arguments: -b",
		"keyvault key create --vault-name kv-one --name a":                                        "ForbiddenByRbac",
		"keyvault create --name kv-three --resource-group other --enable-rbac-authorization true": "ResourceGroupNotFound",
		"keyvault create --name kv-one --resource-group g --enable-rbac-authorization true":       "VaultAlreadyExists",
		"keyvault create --name akv2k8s-1234567890-1234567 --resource-group g":                    "VaultNameNotValid",
		"keyvault create --name akv2k8s- --resource-group g --enable-rbac-authorization true":     "VaultNameNotValid",
		"keyvault create --name kv-three --resource-group g":                                      "--enable-rbac-authorization",
		role + " --role Key~Vault~Secret~User --assignee-object-id kubelet":                       "role 'Key Vault Secret User' doesn't exist",
		role + " --role Key~Vault~Secrets~User --assignee-object-id nobody":                       "PrincipalNotFound",
		"group delete --name g":                                                "--yes",
		"group create --name g --location nowhere":                             "no location",
		"group create --name g --location westeurope --location westeurope":    "twice",
		"account show --output yaml":                                           "no output",
		"account show --query [":                                               "--query",
		"aks list --output tsv":                                                "choose a field",
		"aks show --name other --resource-group group":                         "ResourceNotFound",
		"ad sp create --id nobody":                                             "does not exist",
		"identity show --name i --resource-group g":                            "ResourceNotFound",
		"vmss identity assign --name x --resource-group y --identities z":      "no scale set",
		"acr import --name registry --source a --image b":                      "could not be found",
		"keyvault certificate create --vault-name kv-one --name a --policy {}": "ForbiddenByRbac",
		"role assignment create --role Key~Vault~Secrets~User --scope x --assignee-object-id kubelet " +
			"--assignee-principal-type ServicePrincipal": "nothing has the id",
	} {
		answer := a.az(line)
		assert.NotZero(t, answer.Code, line)
		assert.Contains(t, answer.Stderr, said, line)
		assert.Empty(t, answer.Stdout, line)
	}
	assert.Len(t, a.Refusals(), 31, "the first write, which repeating helps, is not among them")
}

func TestSecretsGoIntoTheVaultAndRolesSayWhoReads(t *testing.T) {
	a := open(t)
	id := a.vault("kv-one")
	reader := a.must("aks list --query [?name=='my-cluster'].identityProfile.kubeletidentity.objectId --output tsv")
	a.must(
		"role assignment create --role Key~Vault~Secrets~User --scope " + id + " --assignee-object-id " + reader +
			" --assignee-principal-type ServicePrincipal",
	)
	assert.Equal(t, []string{"get", "list"}, a.seen.permissions["kv-one kubelet"])
	assert.Empty(
		t,
		a.must("keyvault secret set --vault-name kv-one --name a --value b~c --tags app=shop x=y --output none"),
	)
	assert.Equal(
		t,
		keyvault.Secret{Value: "b c", Tags: map[string]string{"app": "shop", "x": "y"}},
		a.seen.secrets["kv-one a"],
	)
	require.NoError(t, os.WriteFile(filepath.Join(a.dir, "f"), []byte("of a file"), 0o600))
	a.must("keyvault secret set --vault-name kv-one --name f --file f")
	assert.Equal(t, "of a file", a.seen.secrets["kv-one f"].Value)
	assert.Equal(t, []string{"group g"}, a.Left())
	a.must("group delete --name g --yes --no-wait")
	assert.Empty(t, a.Left())
	assert.Empty(t, a.seen.permissions["kv-one kubelet"])
	assert.NotZero(t, a.az("keyvault show --name kv-one").Code, "it is gone with its group")
}

func TestCertificatesAndKeysAreMade(t *testing.T) {
	a := open(t)
	id := a.vault("kv-one")
	me := a.must("ad signed-in-user show --query id --output tsv")
	a.must(
		"role assignment create --role Key~Vault~Administrator --scope " + id + " --assignee-object-id " + me +
			" --assignee-principal-type User",
	)
	require.NotZero(
		t,
		a.az("keyvault key create --vault-name kv-one --name k").Code,
		"the new role is not in force at once either",
	)
	a.must("keyvault key create --vault-name kv-one --name k --kty EC")
	policy := strings.Join(strings.Fields(a.must("keyvault certificate get-default-policy")), "")
	a.must("keyvault certificate create --vault-name kv-one --name c --policy " + policy)
	assert.Equal(t, []string{"kv-one key k", "kv-one certificate c"}, a.seen.others)
}

func TestApplicationsAndIdentitiesGetWhatCommandsGiveThem(t *testing.T) {
	a := open(t)
	a.must("group create --name g --location westeurope")
	client := a.must("ad app create --display-name app --query appId --output tsv")
	object := a.must("ad sp create --id " + client + " --query id --output tsv")
	secret := a.must("ad app credential reset --id " + client + " --query password --output tsv")
	assert.Equal(t, secret, a.seen.principals[client].Secret)
	assert.Equal(t, object, a.seen.principals[client].ObjectID)

	a.must("identity create --name i --resource-group g")
	id := a.must("identity show --name i --resource-group g --query id --output tsv")
	client = a.must("identity show --name i --resource-group g --query clientId --output tsv")
	assert.Empty(t, a.seen.principals[client].ManagedIdentity, "no node has it yet")
	group := a.must("aks list --query [0].nodeResourceGroup --output tsv")
	nodes := a.must("vmss list --resource-group " + group + " --query [].name --output tsv")
	a.must("vmss identity assign --resource-group " + group + " --name " + nodes + " --identities " + id)
	assert.Equal(t, "user", a.seen.principals[client].ManagedIdentity)
	a.must(
		"identity federated-credential create --name f --identity-name i --resource-group g " +
			"--issuer https://issuer.example " +
			"--subject system:serviceaccount:a:b --audiences api://AzureADTokenExchange",
	)
	assert.Equal(t, "system:serviceaccount:a:b", a.seen.principals[client].Federated[0].Subject)
	assert.Contains(t, a.az("group delete --name g --yes").Stderr, "while nodes have it")
}

func TestTheProgramAsksTheTest(t *testing.T) {
	a := open(t)
	folder, err := os.MkdirTemp("", "az-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	socket := filepath.Join(folder, "s")
	require.NoError(t, a.Serve(t.Context(), socket))
	answer, err := azurecli.Ask(socket, azurecli.Call{Args: strings.Fields("account show --query tenantId --output tsv")})
	require.NoError(t, err)
	assert.Equal(t, azurecli.Answer{Stdout: tenant + "\n"}, answer)
	_, err = azurecli.Ask("", azurecli.Call{})
	assert.ErrorContains(t, err, azurecli.Socket)
}
