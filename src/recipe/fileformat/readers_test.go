package fileformat_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/recipe/fileformat"
)

// hardTexts are values that a careless writer breaks.
func hardTexts() []string {
	return []string{"", "plain", "two words", " leading and trailing ", "it's", `say "hi"`, "$HOME and `id` and $(id)", "${HOME}", "back\\slash", "\\n is no newline", "a\nb\n\nc\n",
		"tab\there", "#not a comment", "a #b", "a=b", "=", "p@ss:w/rd%20+x", "!bang", "äöü € 😀", "~", "*", "a;b&c|d<e>f(g)[h]{i}?", "-", "'", "\"", "KEY='x'\nOTHER=y", "x\n#y", "\u00a0nbsp", "export A=1", "%d %s", "@", ",", "{\"a\": [1]}"}
}

// dotEnvTexts are those of hardTexts and of random combinations that a dotenv file can hold, by variable.
func dotEnvTexts(t *testing.T) map[string]string {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // reproducible
	candidates := hardTexts()
	for range 500 {
		var text strings.Builder
		for range 1 + random.IntN(8) {
			text.WriteString([]string{"a", " ", "'", `"`, "\\", "$", "`", "#", "\n", "=", "n", "{", "}", "!", "ä", "\t", "X"}[random.IntN(17)])
		}
		candidates = append(candidates, text.String())
	}
	texts := map[string]string{}
	for i, text := range candidates {
		if _, err := fileformat.Encode(fileformat.DotEnv, bytesOf(map[string]string{"V": text})); err == nil {
			texts[fmt.Sprintf("V_%d", i)] = text
		}
	}
	require.Greater(t, len(texts), 250)
	return texts
}

func tempFile(t *testing.T, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, content, 0o600))
	return name
}

// TestOthersReadDotEnvFilesEqually runs the programs that this machine has.
func TestOthersReadDotEnvFilesEqually(t *testing.T) {
	texts := dotEnvTexts(t)
	content, err := fileformat.Encode(fileformat.DotEnv, bytesOf(texts))
	require.NoError(t, err)
	name := tempFile(t, content)
	for reader, args := range map[string][]string{
		"dash":    {"dash", "-c", `set -a; . "$1"; exec env -0`, "dash", name},
		"bash":    {"bash", "-c", `set -a; . "$1"; exec env -0`, "bash", name},
		"busybox": {"busybox", "sh", "-c", `set -a; . "$1"; exec env -0`, "sh", name},
		"node":    {"node", "--env-file=" + name, "-e", `for (const [k, v] of Object.entries(process.env)) process.stdout.write(k + "=" + v + "\0")`},
		"python-dotenv": {"python3", "-c", `import dotenv, sys
for k, v in dotenv.dotenv_values(sys.argv[1], interpolate=False).items(): sys.stdout.write(k + "=" + v + "\0")`, name},
	} {
		t.Run(reader, func(t *testing.T) {
			if _, err := exec.LookPath(args[0]); err != nil {
				t.Skipf("this machine has no %s", reader)
			}
			if reader == "python-dotenv" && exec.Command("python3", "-c", "import dotenv; dotenv.dotenv_values").Run() != nil {
				t.Skip("this machine has no python-dotenv")
			}
			if reader == "node" && exec.Command("node", "--env-file="+name, "-e", "").Run() != nil {
				t.Skip("this Node.js has no --env-file")
			}
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/canary", "PYTHONIOENCODING=utf-8", "LC_ALL=C.UTF-8"}
			var errs bytes.Buffer
			cmd.Stderr = &errs
			out, err := cmd.Output()
			require.NoError(t, err, errs.String())
			read := map[string]string{}
			for entry := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
				if key, value, _ := strings.Cut(entry, "="); strings.HasPrefix(key, "V_") {
					read[key] = value
				}
			}
			for key, want := range texts {
				assert.Equal(t, want, read[key], "%s", key)
			}
			assert.Len(t, read, len(texts))
		})
	}
}

// propertiesReader prints the keys and values that java.util.Properties reads, as base64.
const propertiesReader = `
import java.io.*;
import java.util.*;
public class Reader {
	public static void main(String[] args) throws Exception {
		Properties properties = new Properties();
		if (args[1].equals("latin1")) {
			try (InputStream in = new FileInputStream(args[0])) { properties.load(in); }
		} else {
			try (java.io.Reader in = new InputStreamReader(new FileInputStream(args[0]), args[1])) { properties.load(in); }
		}
		for (String key : properties.stringPropertyNames()) {
			for (String text : new String[] {key, properties.getProperty(key)})
				System.out.print(Base64.getEncoder().encodeToString(text.getBytes("UTF-8")) + " ");
			System.out.println();
		}
	}
}
`

func TestJavaReadsPropertiesEqually(t *testing.T) {
	if _, err := exec.LookPath("java"); err != nil {
		t.Skip("this machine has no java")
	}
	source := filepath.Join(t.TempDir(), "Reader.java")
	require.NoError(t, os.WriteFile(source, []byte(propertiesReader), 0o600))
	texts := map[string]string{}
	for i, text := range append(hardTexts(), "\x00\x01\x7f", "\r\n\f", "\\", "\\\\", "\u2028", "a\u0000", `'"\`) {
		texts[fmt.Sprintf("key-%d.x", i)] = text
		texts["odd "+text] = fmt.Sprint(i)
	}
	content, err := fileformat.Encode(fileformat.Properties, bytesOf(texts))
	require.NoError(t, err)
	name := tempFile(t, content)
	for _, encoding := range []string{"latin1", "UTF-8"} {
		out, err := exec.Command("java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", source, name, encoding).CombinedOutput()
		if bytes.Contains(out, []byte("jdk.compiler")) {
			t.Skip("this Java can't compile the reader")
		}
		require.NoError(t, err, string(out))
		read := map[string]string{}
		for line := range strings.Lines(string(out)) {
			var pair [2]string
			for i, field := range strings.Split(strings.TrimSuffix(line, " \n"), " ") {
				text, err := base64.StdEncoding.DecodeString(field)
				require.NoError(t, err)
				pair[i] = string(text)
			}
			read[pair[0]] = pair[1]
		}
		assert.True(t, maps.Equal(texts, read), "%q was read as %q", texts, read)
	}
}
