package examples

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/readme"
	"github.com/akv2k8s/akv2k8s/tests/readme/azurecli"
)

const root = "../../.."

func names(t *testing.T) []string {
	t.Helper()
	all, err := readme.Examples(root)
	require.NoError(t, err)
	return all
}

func document(t *testing.T, name string) readme.Document {
	t.Helper()
	d, err := readme.Read(filepath.Join(root, "examples", name, "README.md"))
	require.NoError(t, err)
	return d
}

// commandsOf are all commands of a README.
func commandsOf(d readme.Document) string {
	var all strings.Builder
	for _, section := range d.Sections {
		for _, block := range section.Blocks {
			all.WriteString(block.Commands + "\n")
		}
	}
	return all.String()
}

func TestEveryExampleCanBeCopiedAndPasted(t *testing.T) {
	for _, name := range names(t) {
		t.Run(name, func(t *testing.T) {
			d := document(t, name)
			commands := commandsOf(d)
			checkSections(t, d)
			checkVault(t, d, commands)
			checkVariables(t, commands)
			assert.NotContains(t, commands, "helm install", "it fails the second time")
			if !strings.HasPrefix(name, "gitops-") {
				assert.Contains(t, commands, "helm upgrade --install akv2k8s ../../charts/akv2k8s")
				assert.Contains(t, commands, "helm uninstall akv2k8s --namespace akv2k8s --wait")
			}
			for line := range strings.Lines(commands) {
				assert.False(t, strings.HasPrefix(strings.TrimSpace(line), "#"), "zsh refuses comments: %s", line)
			}
			assert.NotRegexp(t, `kubectl create namespace \S+\n`, commands, "it fails the second time")
			assert.Regexp(t, `(?m)^kubectl delete namespace .*\bakv2k8s\b`, commands, "the release's namespace is removed")
			for i, part := range strings.Split(d.Text, "```") {
				assert.False(t, i%2 == 0 && strings.Contains(part, "\n    "), "commands stand between fences: %s", part)
			}
		})
	}
}

// checkSections wants the four sections in this order, each with commands, and the output of what is checked.
func checkSections(t *testing.T, d readme.Document) {
	t.Helper()
	var order []string
	for _, section := range d.Sections {
		if slices.Contains([]string{"Prepare", "Install", "Check", "Remove"}, section.Name) {
			order = append(order, section.Name)
			assert.NotEmpty(t, section.Blocks, section.Name)
		}
	}
	assert.Equal(t, []string{"Prepare", "Install", "Check", "Remove"}, order)
	check, _ := d.Section("Check")
	for _, block := range check.Blocks {
		assert.NotEmpty(t, block.Output, "line %d: the output is missing", block.Line)
	}
	remove, _ := d.Section("Remove")
	require.NotEmpty(t, remove.Blocks)
	assert.Contains(t, remove.Blocks[0].Commands, `az group delete --name "$VAULT" --yes --no-wait`)
}

// checkVault wants a name that is set once and that nobody else has, and no other name of a vault.
func checkVault(t *testing.T, d readme.Document, commands string) {
	t.Helper()
	assert.Equal(t, 1, strings.Count(commands, "\nVAULT=")+strings.Count(commands[:6], "VAULT="), "it is set once")
	require.Contains(t, commands, "VAULT=akv2k8s-$RANDOM$RANDOM\n")
	longest := len("akv2k8s-3276732767")
	if strings.Contains(commands, `"$VAULT-a"`) {
		longest += 2
	}
	assert.LessOrEqual(t, longest, 24)
	for _, fixed := range regexp.MustCompile(`akv2k8s-(example|team)`).FindAllStringIndex(commands, -1) {
		before := commands[max(0, fixed[0]-len(`sed "s/`)):fixed[0]]
		assert.Equal(t, `sed "s/`, before, "a fixed name of a vault: …%s", commands[max(0, fixed[0]-40):fixed[1]])
	}
	assert.NotContains(t, d.Text, "vault `akv2k8s-example`")
	assert.NotRegexp(t, `--vault-name "?[a-z]`, commands)
}

// checkVariables wants that each variable is set before it is used, and that none has to be filled in by hand.
func checkVariables(t *testing.T, commands string) {
	t.Helper()
	set := map[string]int{"RANDOM": 0}
	assignment := regexp.MustCompile(`(?m)^([A-Z][A-Z0-9_]*)=|^for ([a-z]+) in`)
	for _, at := range assignment.FindAllStringSubmatchIndex(commands, -1) {
		for group := 2; group < 6; group += 2 {
			if at[group] >= 0 {
				if name := commands[at[group]:at[group+1]]; set[name] == 0 {
					set[name] = at[0] + 1
				}
			}
		}
	}
	for _, at := range regexp.MustCompile(`\$([A-Za-z][A-Za-z0-9_]*)`).FindAllStringSubmatchIndex(commands, -1) {
		name := commands[at[2]:at[3]]
		begin, ok := set[name]
		assert.True(t, ok && begin <= at[0]+1, "$%s is not set before it is used", name)
	}
	for _, word := range regexp.MustCompile(`(?m)(?:^|[ =])([A-Z][A-Z-]{2,})(?: |$)`).FindAllStringSubmatch(commands, -1) {
		assert.Equal(t, "RSA", word[1], "a word to replace by hand")
	}
}

func TestNoPageInstallsInAWayThatFailsTheSecondTime(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	require.NoError(t, err)
	require.NotEmpty(t, pages)
	pages = append(pages, filepath.Join(root, "README.md"), filepath.Join(root, "charts", "akv2k8s", "README.md"))
	for _, page := range pages {
		content, err := os.ReadFile(page)
		require.NoError(t, err)
		assert.NotRegexp(t, `(?m)^\s*helm install`, string(content), page)
	}
	start, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	sync := commandsOf(document(t, "secret-sync"))
	for _, command := range []string{
		`CLUSTER=$(kubectl config current-context)`,
		`READER=$(az aks list --query "[?name=='$CLUSTER'].identityProfile.kubeletidentity.objectId" --output tsv)`,
		`--assignee-object-id "$READER" --assignee-principal-type ServicePrincipal`,
		`--namespace akv2k8s --create-namespace --wait`,
	} {
		assert.Contains(t, string(start), command, "the quick start")
		assert.Contains(t, sync, command, "and the example")
	}
}

// local is an emulator in this process.
type local struct{ *emulator.Emulator }

func (l local) Seed(_ context.Context, seed emulator.Seed) error { return l.ApplySeed(seed) }

func (l local) Permit(_ context.Context, vault, objectID string, operations ...string) error {
	l.Vaults.SetPermissions(vault, objectID, operations)
	return nil
}

func (l local) PutSecret(_ context.Context, vault, name string, secret keyvault.Secret) error {
	l.Vaults.PutSecret(vault, name, secret)
	return nil
}

func (l local) PutCertificate(_ context.Context, vault, name string, c keyvault.Certificate) error {
	return l.Vaults.PutCertificate(vault, name, c)
}

func (l local) PutKey(_ context.Context, vault, name string, k keyvault.Key) error {
	return l.Vaults.PutKey(vault, name, k)
}

// refusePlaceholders ends a stand-in if a manifest or a file of values came to it with what the commands have to
// replace.
const refusePlaceholders = ` |
if grep -E 'akv2k8s-(example|team)|(TENANT|CLIENT|RESOURCE)-ID|CLIENT-SECRET|PFX-PASSWORD|registry\.example\.com'
then echo "this was not replaced" >&2; exit 1; fi`

// TestTheCommandsForAzureWork runs all sections but Check with the stand-in of az, and with a kubectl and a helm that
// do nothing; the suite with a cluster runs them all.
func TestTheCommandsForAzureWork(t *testing.T) {
	programs := t.TempDir()
	absolute, err := filepath.Abs(root)
	require.NoError(t, err)
	require.NoError(t, readme.Programs(t.Context(), absolute, programs))
	require.NoError(t, readme.Script(programs, "kubectl", `[ "$*" = "config current-context" ] && echo my-cluster
case "$*" in
*" -f -") cat;;
*" -f "*) for word; do case "$word" in *.yaml) cat "$word";; esac; done;;
esac`+refusePlaceholders))
	require.NoError(t, readme.Script(programs, "helm", `case "$*" in *" --values -") cat;; esac`+refusePlaceholders))
	require.NoError(t, readme.Script(programs, "sleep", "exit 0"))
	folder, err := os.MkdirTemp("", "az-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	for i, name := range names(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const tenant = "11111111-1111-4111-8111-111111111111"
			e, err := emulator.New(tenant, time.Now)
			require.NoError(t, err)
			azure := azurecli.New(
				local{e},
				tenant,
				azurecli.Cluster{Name: "my-cluster", KubeletObjectID: "kubelet", Issuer: "https://issuer.example"},
			)
			socket := filepath.Join(folder, fmt.Sprint(i))
			require.NoError(t, azure.Serve(t.Context(), socket))
			session, err := readme.Start(
				t.Context(),
				filepath.Join(absolute, "examples", name),
				programs,
				azurecli.Socket+"="+socket,
			)
			require.NoError(t, err)
			defer session.Close()
			session.Broken = azure.Refused
			for _, section := range document(t, name).Sections {
				if section.Name == "Check" {
					continue
				}
				for _, block := range section.Blocks {
					_, err := session.Run(block, time.Minute)
					require.NoError(t, err, "section %q", section.Name)
				}
			}
			assert.Empty(t, azure.Left(), "nothing is left")
			assert.NoError(t, azure.Refused())
		})
	}
}
