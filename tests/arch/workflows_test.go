package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// workflow is what is looked at of a workflow of GitHub's.
type workflow struct {
	Permissions map[string]string `json:"permissions"`
	Jobs        map[string]struct {
		Steps []struct {
			Uses string `json:"uses"`
			Run  string `json:"run"`
		} `json:"steps"`
	} `json:"jobs"`
}

// workflows are all of them, by file, as texts and parsed.
func workflows(t *testing.T) (texts map[string]string, parsed map[string]workflow) {
	t.Helper()
	files, err := filepath.Glob("../../.github/workflows/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	texts, parsed = map[string]string{}, map[string]workflow{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		var w workflow
		require.NoError(t, yaml.Unmarshal(content, &w), file)
		texts[filepath.Base(file)], parsed[filepath.Base(file)] = string(content), w
	}
	return texts, parsed
}

// scripts are the commands of all workflows, one a line, each with its file.
func scripts(t *testing.T) map[string][]string {
	t.Helper()
	_, parsed := workflows(t)
	lines := map[string][]string{}
	for file, w := range parsed {
		for _, job := range w.Jobs {
			for _, step := range job.Steps {
				lines[file] = append(lines[file], strings.Split(strings.ReplaceAll(step.Run, "\\\n", " "), "\n")...)
			}
		}
	}
	return lines
}

func TestWorkflowsCallWhatThereIs(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	made, ran := regexp.MustCompile(`\bmake((?: [a-z0-9-]+)+)`), regexp.MustCompile(`go run (\./\S+)(?: ([a-z0-9-]+))?`)
	targets, programs := 0, 0
	for file, lines := range scripts(t) {
		for _, line := range lines {
			for _, call := range made.FindAllStringSubmatch(line, -1) {
				for _, target := range strings.Fields(call[1]) {
					targets++
					assert.Regexp(t, `(?m)^`+target+`:`, string(makefile), "%s: make %s", file, target)
				}
			}
			for _, call := range ran.FindAllStringSubmatch(line, -1) {
				programs++
				sources, err := filepath.Glob(filepath.Join("../..", call[1], "*.go"))
				require.NoError(t, err)
				assert.NotEmpty(t, sources, "%s: go run %s", file, call[1])
				said, err := os.ReadFile(filepath.Join("../..", call[1], "run.go"))
				require.NoError(t, err)
				assert.Contains(t, string(said), "\n  "+call[2]+" ", "%s: go run %s has no command %s", file, call[1], call[2])
			}
		}
	}
	assert.Greater(t, targets, 5, "make is found in the workflows")
	t.Log("go run is called", programs, "times")
}

func TestWorkflowsNameFilesThatThereAre(t *testing.T) {
	texts, _ := workflows(t)
	named := regexp.MustCompile(`(?:--config |go-version-file: |'|p' )((?:charts|tests|src|examples|ct|go)[\w/*.-]*\.(?:yaml|mod|sum))`)
	found := 0
	for file, text := range texts {
		for _, match := range named.FindAllStringSubmatch(text, -1) {
			found++
			files, err := filepath.Glob(filepath.Join("../..", match[1]))
			require.NoError(t, err)
			assert.NotEmpty(t, files, "%s names %s", file, match[1])
		}
	}
	assert.Greater(t, found, 5, "files are found in the workflows")
}

// A tag can be moved to other code, which would get the tokens of the job; a commit can't.
func TestActionsArePinnedAndMayDoLittle(t *testing.T) {
	texts, parsed := workflows(t)
	pinned := regexp.MustCompile(`^[\w-]+(/[\w-]+)+@[0-9a-f]{40} # v\d+(\.\d+)+$`)
	used := regexp.MustCompile(`(?m)^\s*(?:- )?uses: (.+)$`)
	for file, text := range texts {
		for _, use := range used.FindAllStringSubmatch(text, -1) {
			if workflow, ours := strings.CutPrefix(use[1], "./"); ours { // of the same commit
				assert.FileExists(t, filepath.Join("../..", workflow), file)
				continue
			}
			action, _, _ := strings.Cut(use[1], "#")
			assert.Regexp(t, pinned, use[1], "%s: write %s@COMMIT # vVERSION", file, action)
		}
		assert.Equal(t, map[string]string{"contents": "read"}, parsed[file].Permissions, "%s: a job that may do more says so itself", file)
	}
}

// The tools of a release are those of the tests.
func TestWorkflowsUseTheVersionsOfTheTests(t *testing.T) {
	texts, _ := workflows(t)
	tools, err := os.ReadFile("../tools/helm4/go.mod")
	require.NoError(t, err)
	helm := regexp.MustCompile(`helm\.sh/helm/v4 (v\S+)`).FindStringSubmatch(string(tools))
	require.NotNil(t, helm)
	bed, err := os.ReadFile("../cluster/bed/kind.go")
	require.NoError(t, err)
	crane := regexp.MustCompile(`cmd/crane@(v[\d.]+)`).FindStringSubmatch(string(bed))
	require.NotNil(t, crane)
	for _, version := range []string{helm[1], crane[1]} {
		assert.Contains(t, texts["release.yaml"], "with: {version: "+version+"}")
	}
}

func TestEveryModuleGetsUpdates(t *testing.T) {
	content, err := os.ReadFile("../../.github/dependabot.yml")
	require.NoError(t, err)
	modules := 0
	require.NoError(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && notOurs(entry.Name()) {
			return fs.SkipDir
		}
		if err == nil && entry.Name() == "go.mod" {
			modules++
			folder := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../..")
			assert.Contains(t, string(content), "\n      - /"+strings.TrimPrefix(folder, "/")+"\n", "dependabot.yml lacks %s", path)
		}
		if err == nil && entry.Name() == "package.json" {
			folder := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../..")
			assert.Contains(t, string(content), "- package-ecosystem: npm\n    directory: "+folder+"\n", "dependabot.yml lacks %s", path)
		}
		return err
	}))
	assert.Greater(t, modules, 10)
}
