package sbom_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spdx/tools-golang/json"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/tests/cluster/image"
	"github.com/akv2k8s/akv2k8s/tests/sbom"
)

const root = "../.."

func shipped(t *testing.T) []sbom.Module {
	t.Helper()
	var packages []string
	for _, program := range image.Shipped() {
		packages = append(packages, program.Paths()...)
	}
	modules, err := sbom.Modules(t.Context(), root, packages...)
	require.NoError(t, err)
	return modules
}

func TestEveryShippedModuleHasAnAllowedLicence(t *testing.T) {
	modules := shipped(t)
	require.NoError(t, sbom.Refuse(modules))
	names := map[string]bool{}
	for _, m := range modules {
		names[m.Path] = true
		assert.NotEmpty(t, m.Texts, m.Path)
	}
	for _, name := range []string{"std", "k8s.io/client-go", "github.com/Azure/azure-sdk-for-go/sdk/azcore", "github.com/go-logr/logr"} {
		assert.Contains(t, names, name)
	}
	assert.NotContains(t, names, "github.com/stretchr/testify", "tests are not shipped")
	assert.NotContains(t, names, "github.com/akv2k8s/akv2k8s")
}

func TestALicenceThatIsUnknownOrNotAllowedIsRefused(t *testing.T) {
	good := sbom.Module{Path: "example.com/good", Version: "v1.0.0", Licences: []string{"MIT"}}
	require.NoError(t, sbom.Refuse([]sbom.Module{good}))
	copyleft := sbom.Module{Path: "example.com/copyleft", Version: "v1.0.0", Licences: []string{"Apache-2.0", "GPL-3.0"}}
	assert.ErrorContains(t, sbom.Refuse([]sbom.Module{good, copyleft}), "example.com/copyleft v1.0.0 has the licence GPL-3.0")
	none := sbom.Module{Path: "example.com/none", Version: "v1.0.0"}
	assert.ErrorContains(t, sbom.Refuse([]sbom.Module{none}), "example.com/none v1.0.0 has no licence that is known")
}

func TestAnSPDXDocumentNamesEveryModuleAndIsReproducible(t *testing.T) {
	modules := shipped(t)
	i := sbom.Image{Name: "ghcr.io/akv2k8s/controller", Version: "2.0.0", Digest: "sha256:" + strings.Repeat("a", 64),
		Created: time.Unix(1700000000, 0), Modules: modules}
	var first, second bytes.Buffer
	require.NoError(t, sbom.WriteSPDX(&first, i))
	require.NoError(t, sbom.WriteSPDX(&second, i))
	assert.Equal(t, first.String(), second.String())
	document, err := json.Read(&first)
	require.NoError(t, err, "as the format's own library reads it")
	require.Len(t, document.Packages, 1+len(modules))
	assert.Equal(t, "ghcr.io/akv2k8s/controller", document.Packages[0].PackageName)
	assert.Equal(t, strings.Repeat("a", 64), document.Packages[0].PackageChecksums[0].Value)
	assert.Len(t, document.Relationships, 1+len(modules))
	for n, p := range document.Packages[1:] {
		assert.Equal(t, modules[n].Path, p.PackageName)
		assert.NotEqual(t, "NOASSERTION", p.PackageLicenseConcluded)
		assert.Contains(t, p.PackageExternalReferences[0].Locator, "pkg:golang/")
	}
}

func TestTheTextsOfLicencesAreCollected(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, sbom.WriteLicences(&out, shipped(t)))
	assert.Contains(t, out.String(), "==== github.com/go-logr/logr ")
	assert.Contains(t, out.String(), "Apache License")
	assert.Contains(t, out.String(), "==== golang.org/x/net ")
}
