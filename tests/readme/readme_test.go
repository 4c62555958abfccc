package readme_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/tests/readme"
)

func TestAReadmeIsCutIntoSectionsAndBlocks(t *testing.T) {
	d, err := readme.Parse(
		"# Title\n\nText\n\n## One\n\n```sh\necho a\necho b\n```\n\n" +
			"```text\nb\n```\n\n```yaml\na: b\n```\n\n## Two\n\n```sh\necho c\n```\n",
	)
	require.NoError(t, err)
	assert.Equal(t, "Title", d.Title)
	one, ok := d.Section("One")
	require.True(t, ok)
	assert.Equal(t, []readme.Block{{Line: 7, Commands: "echo a\necho b", Output: "b"}}, one.Blocks)
	two, ok := d.Section("Two")
	require.True(t, ok)
	assert.Equal(t, []readme.Block{{Line: 22, Commands: "echo c"}}, two.Blocks)
}

func TestABlockThatCannotBeUnderstoodIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"without a kind":             "```\necho\n```\n",
		"without an end":             "```sh\necho\n",
		"output without commands":    "```text\nhello\n```\n",
		"output after text":          "```sh\necho\n```\n\nand then\n\n```text\nhello\n```\n",
		"output of another section":  "```sh\necho\n```\n\n## Next\n\n```text\nhello\n```\n",
		"output after another block": "```sh\necho\n```\n\n```yaml\na: b\n```\n\n```text\nhello\n```\n",
	} {
		_, err := readme.Parse(text)
		assert.Error(t, err, name)
	}
}

func TestOutputIsComparedLineByLineAndWordByWord(t *testing.T) {
	const printed = "NAME     READY   AGE\nother    False   1s\ndatabase-7f8c   True    3m2s\n"
	for _, wanted := range []string{"NAME READY AGE\ndatabase-… True …", "database-7f8c …",
		"… True …", "… READY …\nother …", "database-7f8c … True 3m2s"} {
		assert.NoError(t, readme.Match(wanted, printed), wanted)
	}
	for _, wanted := range []string{"NAME READY", "database True …",
		"database-… True …\nNAME …", "base-7f8c …", "database-… False …"} {
		assert.Error(t, readme.Match(wanted, printed), wanted)
	}
}

func TestASessionKeepsVariablesAndStopsAtAFailure(t *testing.T) {
	s, err := readme.Start(t.Context(), t.TempDir(), t.TempDir())
	require.NoError(t, err)
	defer s.Close()
	run := func(commands string) (string, error) {
		return s.Run(readme.Block{Line: 1, Commands: commands}, time.Minute)
	}
	_, err = run("A=1\nF() { echo \"$A$1\"; }")
	require.NoError(t, err)
	out, err := run("F 2; cat; echo oops >&2")
	require.NoError(t, err)
	assert.Equal(t, "12\noops\n", out)
	out, err = run("echo before; false | cat; echo after")
	require.ErrorContains(t, err, "exit status 1")
	assert.Equal(t, "before\n", out)
	_, err = run("echo more")
	assert.ErrorContains(t, err, "the shell has ended")
}

func TestASessionRefusesVariablesThatAreNotSetAndLoopsWithoutEnd(t *testing.T) {
	s, err := readme.Start(t.Context(), t.TempDir(), t.TempDir())
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Run(readme.Block{Commands: "echo $NOTHING"}, time.Minute)
	require.Error(t, err)
	endless, err := readme.Start(t.Context(), t.TempDir(), t.TempDir())
	require.NoError(t, err)
	defer endless.Close()
	_, err = endless.Run(readme.Block{Commands: "until false; do sleep 0.1; done"}, 500*time.Millisecond)
	assert.ErrorContains(t, err, "it has not ended after 500ms")
	assert.True(t, strings.Contains(err.Error(), "until false"), "the message has the commands")
}
