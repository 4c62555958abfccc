//go:build cluster

package site

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
)

// base is as on GitHub Pages: below the folder of the repository and that of the version.
const base = "/akv2k8s/v2.0/"

// TestSite builds the site as make site does, and runs the checks of site/browser on it.
func TestSite(t *testing.T) {
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	browser, err := build.Builder{Root: root, Progress: t.Output()}.Browser(t.Context())
	require.NoError(t, err)
	made := exec.CommandContext(t.Context(), "make", "site")
	made.Dir, made.Env = root, append(made.Environ(), "SITE_BASE="+base)
	out, err := made.CombinedOutput()
	require.NoError(t, err, "make site\n%s", out)
	t.Logf("%s", out)

	server := httptest.NewServer(pages(filepath.Join(root, "dist/site")))
	t.Cleanup(server.Close)
	for check, promise := range map[string]string{
		"open":        "every page opens without errors, without other hosts, and fits its window",
		"search":      "the search leads to the fix",
		"copy":        "the button of a code block copies the code",
		"access":      "axe finds no serious violation",
		"versions":    "the menu of versions leads to others",
		"screenshots": "pictures of the main pages are kept",
	} {
		t.Run(promise, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "node", "browser/run.mjs", check, server.URL+base,
				filepath.Join(root, "dist/site-screenshots"))
			cmd.Dir, cmd.Env = filepath.Join(root, "site"), append(cmd.Environ(), "CHROMIUM="+browser)
			out, err := cmd.CombinedOutput()
			assert.NoError(t, err, "%s", out)
		})
	}
}

// pages serve the site with a list of versions above it.
func pages(dist string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(base, http.StripPrefix(base, http.FileServer(http.Dir(dist))))
	mux.HandleFunc("/akv2k8s/versions.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`[{"version": "v2.1", "base": "/akv2k8s/v2.1/"}, {"version": "v2.0", "base": "` + base + `"}]`))
	})
	mux.HandleFunc("/akv2k8s/v2.1/", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("another version"))
	})
	return mux
}
