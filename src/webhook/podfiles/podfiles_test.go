package podfiles_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe/fileformat"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
	"github.com/akv2k8s/akv2k8s/src/webhook/podfiles"
)

const all = "akv2k8s.io/files"

// parse parses the annotation for all containers of a pod with the containers app and log.
func parse(text string) (podfiles.Plan, error) {
	return podfiles.Parse(map[string]string{all: text}, []string{"app", "log"})
}

func ref(t testing.TB, text string) envref.Reference {
	t.Helper()
	reference, err := envref.Parse(text)
	require.NoError(t, err)
	return reference
}

// described are the entries of a plan as a container sees them: path, reference, mode and format.
func described(plan podfiles.Plan, container string) (lines []string) {
	for _, mount := range plan.Mounts[container] {
		for _, directory := range plan.Directories {
			if directory.Name != mount.Directory {
				continue
			}
			for _, e := range directory.Entries {
				line := fmt.Sprintf("%s|%s %s %#o %s", mount.Path, e.Path, e.Reference, uint32(e.Mode), e.Format)
				if e.IsFolder {
					line += " folder"
				}
				if e.Password != nil {
					line += " " + e.Password.String()
				}
				lines = append(lines, line)
			}
		}
	}
	return lines
}

const example = `
# a comment
/etc/app/password: db@azurekeyvault?password
/etc/app/tls/: web@azurekeyvault
/etc/app/conf.d/a/settings.json: {from: app@azurekeyvault, format: json, mode: "0440"}
/srv/web.pfx:
  from: web@azurekeyvault
  format: pfx
  mode: 0400
  password: pw@azurekeyvault?x
/srv/keys/:
  from: " keys@azurekeyvault\n"
  mode: "600"
`

func TestParse(t *testing.T) {
	want := []string{
		"/etc/app|conf.d/a/settings.json app@azurekeyvault 0440 json",
		"/etc/app|password db@azurekeyvault?password 0644 raw",
		"/etc/app|tls web@azurekeyvault 0644 raw folder",
		"/srv|keys keys@azurekeyvault 0600 raw folder",
		"/srv|web.pfx web@azurekeyvault 0400 pfx pw@azurekeyvault?x",
	}
	asJSON := `{"\/etc/app/password": "db@azurekeyvault?password", "/etc/app/tls/": "web@azurekeyvault",
	"/etc/app/conf.d/a/settings.json": {"from": "app@azurekeyvault", "format": "json", "mode": "0440"},
	"/srv/web.pfx": {"from": "web@azurekeyvault", "format": "pfx", "mode": "0400", "password": "pw@azurekeyvault?x"},
	"/srv/keys/": {"from": "keys@azurekeyvault", "mode": "0600"}}`
	for _, text := range []string{example, asJSON, "---\n" + example + "...\n"} {
		plan, err := parse(text)
		require.NoError(t, err)
		assert.Equal(t, want, described(plan, "app"))
		assert.Equal(t, want, described(plan, "log"))
		assert.Len(t, plan.Directories, 2, "containers share directories")
		assert.False(t, plan.IsEmpty())
	}
	plan, err := parse("/etc/tls/: web@azurekeyvault")
	require.NoError(t, err)
	assert.Equal(t, podfiles.Plan{Directories: []podfiles.Directory{{Name: "0", Entries: []podfiles.Entry{{Path: ".", IsFolder: true,
		Reference: ref(t, "web@azurekeyvault"), Mode: 0o644, Format: fileformat.Raw}}}},
		Mounts: map[string][]podfiles.Mount{"app": {{Path: "/etc/tls", Directory: "0"}}, "log": {{Path: "/etc/tls", Directory: "0"}}}}, plan)
}

func TestAPodWithoutFiles(t *testing.T) {
	for _, annotations := range []map[string]string{nil, {"akv2k8s.io/filesystem": "x", "akv2k8s.io/file": "y"}, {all: "{}"}, {all: "{}", all + ".app": "{}"}} {
		plan, err := podfiles.Parse(annotations, []string{"app"})
		require.NoError(t, err)
		assert.True(t, plan.IsEmpty())
		assert.Empty(t, plan.Mounts)
	}
	assert.False(t, podfiles.IsRequested(map[string]string{"akv2k8s.io/filesystem": "x"}))
	assert.True(t, podfiles.IsRequested(map[string]string{all + ".app": "x"}))
	assert.True(t, podfiles.IsRequested(map[string]string{all: ""}))
}

// TestAnAnchorCanBeUsedAgain has aliases of each kind that has a meaning.
func TestAnAnchorCanBeUsedAgain(t *testing.T) {
	plan, err := parse("/etc/app/a: &a {from: &r db@azurekeyvault, mode: &m \"0400\"}\n/etc/app/b: *a\n/etc/app/c: {from: *r, mode: *m}\n/etc/app/d: *r\n")
	require.NoError(t, err)
	assert.Equal(t, []string{"/etc/app|a db@azurekeyvault 0400 raw", "/etc/app|b db@azurekeyvault 0400 raw", "/etc/app|c db@azurekeyvault 0400 raw",
		"/etc/app|d db@azurekeyvault 0644 raw"}, described(plan, "app"))
}

func TestAContainerAddsAndOverrides(t *testing.T) {
	annotations := map[string]string{
		all:          "/etc/app/a: one@azurekeyvault\n/etc/app/b: two@azurekeyvault\n/srv/x/: three@azurekeyvault",
		all + ".log": `{"/etc/app/b": "other@azurekeyvault", "/etc/app/c": "four@azurekeyvault", "/srv/x/": {"from": "five@azurekeyvault", "mode": "0400"}}`,
		all + ".job": `{"/data/y": "six@azurekeyvault"}`,
	}
	plan, err := podfiles.Parse(annotations, []string{"init", "app", "log", "job"})
	require.NoError(t, err)
	shared := []string{"/etc/app|a one@azurekeyvault 0644 raw", "/etc/app|b two@azurekeyvault 0644 raw", "/srv/x|. three@azurekeyvault 0644 raw folder"}
	assert.Equal(t, shared, described(plan, "init"))
	assert.Equal(t, shared, described(plan, "app"))
	assert.Equal(t, append([]string{"/data|y six@azurekeyvault 0644 raw"}, shared...), described(plan, "job"))
	assert.Equal(t, []string{"/etc/app|a one@azurekeyvault 0644 raw", "/etc/app|b other@azurekeyvault 0644 raw", "/etc/app|c four@azurekeyvault 0644 raw",
		"/srv/x|. five@azurekeyvault 0400 raw folder"}, described(plan, "log"))
	assert.Len(t, plan.Directories, 5, "directories of the same content are shared, those of different content are not")
	for range 20 {
		again, err := podfiles.Parse(annotations, []string{"init", "app", "log", "job"})
		require.NoError(t, err)
		require.Equal(t, plan, again, "the names don't depend on the order of a map")
	}
}

// refused is the error of an annotation.
func refused(t *testing.T, err error) string {
	t.Helper()
	require.Error(t, err)
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.NotEmpty(t, fault.NextStepOf(err), "%s", err)
	assert.NotContains(t, err.Error(), "canary", "a value could have been pasted in place of a reference")
	assert.Less(t, len(err.Error()), 9000)
	for _, r := range err.Error() {
		assert.False(t, r < ' ' || r == '\u202e' || r == '\u200b', "%q", err.Error())
	}
	return err.Error()
}

func TestParseRefusesTexts(t *testing.T) {
	long := strings.Repeat("n", 256)
	for text, says := range map[string]string{
		"":                                    "is not a mapping from path to reference; write YAML or JSON such as",
		"# nothing":                           "is not a mapping",
		"null":                                "is not a mapping",
		"canary":                              "is not a mapping",
		"[canary]":                            "is not a mapping",
		`["canary"]`:                          "is not a mapping",
		`"canary"`:                            "is not a mapping",
		"1":                                   "is not a mapping",
		"{canary":                             "is not a mapping",
		"/a/b: c\n---\n/c/d:":                 "is not a mapping",
		"/a/b: x@azurekeyvault\n\t/c: canary": "is not a mapping",
		strings.Repeat("[", 20000):            "is not a mapping",
		strings.Repeat(`{"a":`, 6000) + "1" + strings.Repeat("}", 6000): `annotation "akv2k8s.io/files" has more than 32 KiB`,
		strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000): `path "a" is not absolute`,
		"1: x@azurekeyvault":       "has a key that is not a text; use absolute paths as keys",
		"? [a]\n: x@azurekeyvault": "has a key that is not a text",
		"<<: {/a/b: x}":            "has a key that is not a text",
		"!!binary /a/b: x":         "has a key that is not a text",
		"a: &a [*a]":               `path "a" is not absolute`,
		"/a/b: x@azurekeyvault\n/a/b: y@azurekeyvault":          `annotation "akv2k8s.io/files", path "/a/b" is there twice; remove one`,
		`{"/a/b": "x@azurekeyvault", "/a/b": "canary"}`:         "is there twice",
		"/a/b: x@azurekeyvault\n\"/a/\\x62\": canary":           "is there twice",
		"/" + strings.Repeat("x", 40<<10) + ": x@azurekeyvault": "has more than 32 KiB; use folders",
		// references
		"/a/b: canary":                        `path "/a/b": the option from is not a reference; write NAME@azurekeyvault`,
		"/a/b:":                               "the option from is not a reference",
		"/a/b: [x@azurekeyvault]":             "the option from is not a reference",
		"/a/b: !!int x@azurekeyvault":         "the option from is not a reference",
		"/a/b: {}":                            "has no reference; write from: NAME@azurekeyvault",
		"/a/b: {mode: \"0400\"}":              "has no reference",
		"/a/b: {from: canary@azurekeyvaults}": "the option from is not a reference",
		"/a/b: {from: {from: canary}}":        "the option from is not a reference",
		"/a/b: &x {from: *x}":                 "is not a",
		"/a/b: {from: x@azurekeyvault, format: pfx, password: canary}": "the option password is not a reference",
		// options
		"/a/b: {from: x@azurekeyvault, owner: canary}":                                              `path "/a/b": the option "owner" is not known; use from, mode, format, password`,
		"/a/b: {from: x@azurekeyvault, <<: {mode: \"0400\"}}":                                       `the option "<<" is not known`,
		"/a/b: {from: x@azurekeyvault, [mode]: \"0400\"}":                                           `the option "" is not known`,
		`{"/a/b": {"from": "x@azurekeyvault", "` + strings.Repeat("\u202e", 3000) + `": "canary"}}`: "is not known",
		"/a/b: {from: x@azurekeyvault, from: canary}":                                               "the option from is there twice",
		`{"/a/b": {"from": "x@azurekeyvault", "mode": "0400", "mode": "0"}}`:                        "the option mode is there twice",
		"/a/b: {from: x@azurekeyvault, format: canary}":                                             "the format is not known; use raw, json, dotenv, properties, pfx, jks",
		"/a/b: {from: x@azurekeyvault, format: [raw]}":                                              "the format is not known",
		"/a/b: {from: x@azurekeyvault, format: RAW}":                                                "the format is not known",
		// combinations
		"/a/b: {from: x@azurekeyvault, format: pfx}":                             `path "/a/b": the format pfx needs a password; add password: NAME@azurekeyvault`,
		"/a/b: {from: x@azurekeyvault, format: jks}":                             "the format jks needs a password",
		"/a/b: {from: x@azurekeyvault, password: y@azurekeyvault}":               "the format raw has no password; remove the password, or choose the format pfx or jks",
		"/a/b: {from: x@azurekeyvault, format: json, password: y@azurekeyvault}": "the format json has no password",
		"/a/b: {from: x@azurekeyvault?k, mode: \"0400\"}":                        "quotes around a reference with a question mark that is in braces",
		"/a/b: {from: \"x@azurekeyvault?k\", format: dotenv}":                    "the format dotenv holds all data keys, and the reference selects one",
		"/a/b/: x@azurekeyvault?k":                                               `path "/a/b/" is a folder with all data keys, and its reference selects one`,
		"/a/b/: {from: x@azurekeyvault, format: json}":                           "is a folder, which has no format; remove the slash",
		"/a/b/: {from: x@azurekeyvault, format: pfx, password: y@azurekeyvault}": "is a folder, which has no format",
		"/a/b/: {from: x@azurekeyvault, password: y@azurekeyvault}":              "has no password",
		// collisions
		"/a/b: x@azurekeyvault\n/a/b/: y@azurekeyvault":        `container "app", path "/a/b/" is both a file and a folder; choose another path`,
		"/a/b/: x@azurekeyvault\n/a/b: y@azurekeyvault":        `path "/a/b" is both a file and a folder`,
		"/a/b: x@azurekeyvault\n/a/b/c: y@azurekeyvault":       `container "app", path "/a/b/c" needs "/a/b" as a directory, and that is a file`,
		"/a/b/c/d/: x@azurekeyvault\n/a/b: y@azurekeyvault":    `path "/a/b/c/d/" needs "/a/b" as a directory`,
		"/a/b/: x@azurekeyvault\n/a/b/c: y@azurekeyvault":      `path "/a/b/c" is in the folder "/a/b/", whose files are the data keys of a resource; choose a path outside`,
		"/a/b/: x@azurekeyvault\n/a/b/c/d/e/: y@azurekeyvault": `path "/a/b/c/d/e/" is in the folder "/a/b/"`,
		// paths
		"a/b: x@azurekeyvault":                                       `annotation "akv2k8s.io/files", path "a/b" is not absolute; write an absolute path`,
		"\"\": x@azurekeyvault":                                      "is not absolute",
		"/: x@azurekeyvault":                                         `path "/" is the root directory`,
		"//: x@azurekeyvault":                                        "is the root directory",
		"//a/b: x@azurekeyvault":                                     "has an empty name between two slashes",
		"/a//b: x@azurekeyvault":                                     "has an empty name",
		"/a/b//: x@azurekeyvault":                                    "has an empty name",
		"/a/./b: x@azurekeyvault":                                    "has the name . in it",
		"/a/.: x@azurekeyvault":                                      "has the name . in it",
		"/a/../b: x@azurekeyvault":                                   "has a name that begins with two dots; choose other names; those that begin",
		"/a/..: x@azurekeyvault":                                     "begins with two dots",
		"/a/..data: x@azurekeyvault":                                 "begins with two dots",
		"/a/..2026/b: x@azurekeyvault":                               "begins with two dots",
		"\"/a/b\\0\": x@azurekeyvault":                               `path "/a/b\x00" has characters that are not printable`,
		"\"/a/b\\n\": x@azurekeyvault":                               "not printable",
		"\"/a/\\u200b\": x@azurekeyvault":                            "not printable",
		"\"/a/\\u202e\": x@azurekeyvault":                            "not printable",
		"/a/" + long + ": x@azurekeyvault":                           "has a name with more than 255 bytes",
		"/a/" + long + "/b: x@azurekeyvault":                         "has a name with more than 255 bytes",
		`{"/a` + strings.Repeat("/b", 600) + `": "x@azurekeyvault"}`: "has more than 1 KiB",
		strings.Repeat("/b", 33) + ": x@azurekeyvault":               "has more than 32 levels",
		"/a:b/c: x@azurekeyvault":                                    "has a directory with a colon, which Kubernetes can't mount",
	} {
		_, err := parse(text)
		assert.Contains(t, refused(t, err), says, "%.200q", text)
	}
}

func TestModes(t *testing.T) {
	for text, want := range map[string]fs.FileMode{`"0400"`: 0o400, `"400"`: 0o400, "0400": 0o400, "0777": 0o777, "'000'": 0, "!!str 644": 0o644} {
		plan, err := parse("/a/b: {from: x@azurekeyvault, mode: " + text + "}")
		require.NoError(t, err, text)
		assert.Equal(t, want, plan.Directories[0].Entries[0].Mode, text)
	}
	for _, text := range []string{"400", "256", `"0o400"`, "0o400", `"1777"`, "04755", `"04000"`, "02755", `"0800"`, `"00400"`, `"40"`, `""`, "", "-400", `"u=r"`, "[0400]", "{}", "0x100", "0.400", "null", "true", `"0400\n"`} {
		_, err := parse("/a/b: {from: x@azurekeyvault, mode: " + text + "}")
		assert.Contains(t, refused(t, err), `path "/a/b": the mode is not one of 0000 to 0777; write three octal digits after a zero, in quotes, such as "0400"`, text)
	}
	_, err := parse(`{"/a/b": {"from": "x@azurekeyvault", "mode": 256}}`)
	assert.Contains(t, refused(t, err), "the mode is not", "which Kubernetes reads as 0400")
}

func TestDirectoriesThatCantBeMounted(t *testing.T) {
	for path, says := range map[string]string{
		"/config.yaml":                      `container "app", path "/config.yaml" needs a mount of the whole directory /, which would hide the files that the image has there; choose a directory that has only such files`,
		"/etc/passwd":                       "needs a mount of the whole directory /etc",
		"/etc/":                             "needs a mount of the whole directory /etc",
		"/etc/ssl/certs/ca.pem":             "needs a mount of the whole directory /etc/ssl/certs",
		"/usr/bin/tool":                     "whole directory /usr/bin",
		"/tmp/x":                            "whole directory /tmp",
		"/var/run/x":                        "whole directory /run",
		"/run/secrets/x":                    "whole directory /run/secrets",
		"/azure-keyvault/x":                 "is in /azure-keyvault, which is reserved",
		"/azure-keyvault/":                  "is in /azure-keyvault, which is reserved",
		"/azure-keyvault/a/b":               "is in /azure-keyvault, which is reserved",
		"/akv2k8s-env-files/x":              "is in /akv2k8s-env-files, which is reserved",
		"/var/run/secrets/akv2k8s.io/token": "is in /run/secrets/akv2k8s.io, which is reserved",
		"/run/secrets/akv2k8s.io/a/":        "is in /run/secrets/akv2k8s.io, which is reserved",
		"/run/secrets/kubernetes.io/x":      "is in /run/secrets/kubernetes.io, which is reserved",
		"/var/run/secrets/kubernetes.io/":   "is in /run/secrets/kubernetes.io, which is reserved",
		"/var/run/secrets/azure/tokens/x":   "is in /run/secrets/azure, which is reserved",
		"/proc/self/environ":                "is in /proc, which is reserved",
		"/sys/x/":                           "is in /sys, which is reserved",
		"/dev/shm/x":                        "is in /dev, which is reserved",
	} {
		_, err := parse(path + ": x@azurekeyvault\n/etc/app/other: y@azurekeyvault")
		message := refused(t, err)
		assert.Contains(t, message, says)
		assert.Contains(t, message, fmt.Sprintf("path %q", path))
	}
	for _, path := range []string{"/azure-keyvaults/x", "/run/app/x", "/etcetera/x", "/mnt/secrets/x", "/etc/app/x", "/devices/x", "/srv/x", "/var/lib/app/x", "/a/x:y"} {
		_, err := parse(path + ": x@azurekeyvault")
		assert.NoError(t, err, path)
	}
}

func TestAnUnknownContainerIsRefused(t *testing.T) {
	for _, name := range []string{"", "App", "other", strings.Repeat("x", 5000), "a\nb"} {
		_, err := podfiles.Parse(map[string]string{all + "." + name: "canary"}, []string{"app"})
		assert.Contains(t, refused(t, err), "the pod has no such container; use the name of a container, or akv2k8s.io/files for all")
	}
	_, err := podfiles.Parse(map[string]string{all + ".app": "canary"}, []string{"app"})
	assert.Contains(t, refused(t, err), `annotation "akv2k8s.io/files.app" is not a mapping`)
	_, err = podfiles.Parse(map[string]string{all: "/a/b/: x@azurekeyvault", all + ".log": "/a/b/c: y@azurekeyvault"}, []string{"app", "log"})
	assert.Contains(t, refused(t, err), `container "log", path "/a/b/c" is in the folder "/a/b/"`, "where it collides")
}

// manyFiles are n files, each in one of the directories.
func manyFiles(n, directories int) string {
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("/d/%d/%d", i%directories, i)] = "x@azurekeyvault"
	}
	text, err := json.Marshal(files)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestCountsAreLimited(t *testing.T) {
	containers := make([]string, 50)
	for i := range containers {
		containers[i] = fmt.Sprint("c", i)
	}
	plan, err := podfiles.Parse(map[string]string{all: manyFiles(limits.PodFiles, limits.PodFileDirectories)}, containers)
	require.NoError(t, err)
	assert.Len(t, plan.Directories, limits.PodFileDirectories)
	assert.Len(t, plan.Mounts, 50)

	_, err = podfiles.Parse(map[string]string{all: manyFiles(limits.PodFiles+1, 1)}, containers)
	assert.Contains(t, refused(t, err), "the pod has more than 200 files; use folders")
	_, err = podfiles.Parse(map[string]string{all: manyFiles(limits.PodFileDirectories+1, limits.PodFileDirectories+1)}, containers)
	assert.Contains(t, refused(t, err), "the pod has files in more than 20 directories")
	_, err = podfiles.Parse(map[string]string{all: manyFiles(150, 1), all + ".c1": `{"/e/1": "x@azurekeyvault"}`, all + ".c2": manyFiles(51, 1)}, containers)
	assert.Contains(t, refused(t, err), "more than 200 files", "in all annotations")
	_, err = podfiles.Parse(map[string]string{all: manyFiles(150, 1), all + ".c1": `{"/d/0/1": "y@azurekeyvault"}`}, containers)
	assert.Contains(t, refused(t, err), "more than 200 files", "a directory of other content has all its files again")
}

func TestCheckMounts(t *testing.T) {
	plan, err := podfiles.Parse(map[string]string{all + ".app": "/etc/app/a: x@azurekeyvault\n/var/run/app/b/: y@azurekeyvault"}, []string{"app", "log"})
	require.NoError(t, err)
	for path, says := range map[string]string{
		"/etc/app":             `container "app": the directory "/etc/app" of files is already the mount of volume "v"; choose another directory for the files`,
		"/etc/app/":            "is already the mount",
		"/etc//x/../app":       "is already the mount",
		"/etc/app/config.yaml": `hides the mount "/etc/app/config.yaml" of volume "v"`,
		"/etc/app/sub/dir":     "hides the mount",
		"/run/app/b":           `the directory "/run/app/b" of files is already the mount`,
		"/run/app/b/c":         "hides the mount",
	} {
		err := plan.CheckMounts("app", []corev1.VolumeMount{{Name: "other", MountPath: "/data"}, {Name: "v", MountPath: path}})
		assert.Contains(t, refused(t, err), says, path)
		assert.NoError(t, plan.CheckMounts("log", []corev1.VolumeMount{{Name: "v", MountPath: path}}), "it has no files")
	}
	for _, path := range []string{"/etc", "/var/run/app", "/run", "/"} {
		assert.NoError(t, plan.CheckMounts("app", []corev1.VolumeMount{{Name: "v", MountPath: path}}), path)
		err := plan.CheckMounts("app", []corev1.VolumeMount{{Name: "v\n" + strings.Repeat("x", 5000), MountPath: path, ReadOnly: true}})
		assert.Contains(t, refused(t, err), "which is read-only; choose a directory outside of it", path)
	}
	for _, path := range []string{"/etc/application", "/etc/ap", "/data", "/etc/app2"} {
		assert.NoError(t, plan.CheckMounts("app", []corev1.VolumeMount{{Name: "v", MountPath: path, ReadOnly: true}}), path)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{example, "{}", "/a/b: x@azurekeyvault", `{"/a/b": {"from": "x@azurekeyvault", "mode": 256}}`, "/a/b: &x {from: *x}", "a: &a [*a]", strings.Repeat("[", 3000), strings.Repeat("{a: ", 3000),
		"/a/b: &a [x,x]\n/a/c: &b [*a,*a]\n/a/d: &c [*b,*b]\n/a/e: [*c,*c]", manyFiles(150, 15), "\"/a/\\u202e\": x", "/a/b: |\n  x@azurekeyvault\n", strings.Repeat("- ", 3000), strings.Repeat("/a/b: x\n", 2000), "!!map {? !!str /a/b : !!binary eA==}"} {
		f.Add(seed, "/etc/app/x: y@azurekeyvault")
	}
	containers := []string{"app", "log"}
	f.Fuzz(func(t *testing.T, text, own string) {
		annotations := map[string]string{all: text, all + ".log": own}
		var plan podfiles.Plan
		var err error
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: 2 * time.Second, Bytes: 4 << 20, PerByte: 1500}, min(len(text), limits.FilesAnnotationBytes)+min(len(own), limits.FilesAnnotationBytes), func() {
			plan, err = podfiles.Parse(annotations, containers)
		})
		if err != nil {
			if fault.KindOf(err) != fault.Invalid || fault.NextStepOf(err) == "" || len(err.Error()) > 9000 {
				t.Fatalf("%v", err)
			}
			return
		}
		files := 0
		for _, directory := range plan.Directories {
			files += len(directory.Entries)
			for _, e := range directory.Entries {
				if !fs.ValidPath(e.Path) || e.Path == "." && (!e.IsFolder || len(directory.Entries) != 1) || strings.HasPrefix(e.Path, "..") || e.Mode&^fs.ModePerm != 0 || e.Format.NeedsPassword() != (e.Password != nil) {
					t.Fatalf("%+v", e)
				}
			}
		}
		if files > limits.PodFiles || len(plan.Directories) > limits.PodFileDirectories {
			t.Fatalf("%d files in %d directories", files, len(plan.Directories))
		}
		for _, mounts := range plan.Mounts {
			for i, mount := range mounts {
				if !strings.HasPrefix(mount.Path, "/") || strings.HasSuffix(mount.Path, "/") || i > 0 && strings.HasPrefix(mount.Path, mounts[i-1].Path+"/") {
					t.Fatalf("%+v", mounts)
				}
			}
		}
	})
}
