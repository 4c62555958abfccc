package image

import (
	"bytes"
	"cmp"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/crypto/x509roots/fallback/bundle"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Repository is where the images live; they are loaded into a local cluster under the same names.
const Repository = "ghcr.io/akv2k8s/"

// PrivateImage is the testbox under a name of a registry that only the emulator has.
const PrivateImage = "akv2k8stest.azurecr.io/testbox:1"

// nobody is the user of every image.
const nobody = "65532:65532"

// Program is an image made of programs of ours.
type Program struct {
	// Image is the last part of the image's name.
	Image string
	// Packages are the programs' folders in the repository; the image runs the first.
	Packages []string
}

// Paths are the packages as the go command takes them in the repository's root.
func (p Program) Paths() []string {
	var paths []string
	for _, pkg := range p.Packages {
		paths = append(paths, "./"+pkg)
	}
	return paths
}

// binary is a program's path in its image.
func binary(pkg string) string { return "/usr/local/bin/" + filepath.Base(pkg) }

// linkFiles are further names of the programs, by path. They are relative, because pods mount the image in a folder.
func (p Program) linkFiles() map[string]File {
	if p.Image != "env" {
		return nil
	}
	link := func(to string) File { return File{Link: to, Mode: 0o777} }
	inImage := func(pkg string) string { return strings.TrimPrefix(binary(pkg), "/") }
	root := func(inPod string) string { return "/" + filepath.Base(inPod) }
	return map[string]File{
		root(wire.InjectorPath):       link(inImage("src/cmd/azure-keyvault-env-thin")),
		root(wire.DirectInjectorPath): link(inImage("src/cmd/azure-keyvault-env")),
		root(wire.HasStartedPath):     link(filepath.Base(wire.InjectorPath)),
	}
}

// Shipped are the images that users install.
func Shipped() []Program {
	return []Program{
		{"controller", []string{"src/cmd/controller"}}, {"env-injector", []string{"src/cmd/envinjector"}},
		{"env", []string{"src/cmd/azure-keyvault-env", "src/cmd/azure-keyvault-env-thin"}},
	}
}

// TestOnly are the images that only tests and the demo use.
func TestOnly() []Program { return []Program{{"azure-emulator", []string{"src/cmd/azure-emulator"}}} }

// Maker builds images from a repository.
type Maker struct {
	// Root of the repository.
	Root string
	// Into is the folder for archives.
	Into string
	// Programs is the folder for compiled programs; empty means Into.
	Programs string
	// Progress gets the output of go build.
	Progress io.Writer
	// FIPS makes what users install with Go's validated FIPS 140-3 module, under tags that end in FIPSSuffix.
	FIPS bool
}

// FIPSSuffix ends the tag of an image with the FIPS 140-3 module; the chart's value global.fips adds the same.
const FIPSSuffix = "-fips"

// fipsModule is the version of Go's cryptographic module that has a certificate of the CMVP.
const fipsModule = "v1.0.0"

// Version is the chart's appVersion: the tag of every image.
func (m Maker) Version() (string, error) {
	content, err := os.ReadFile(filepath.Join(m.Root, "charts", "akv2k8s", "Chart.yaml"))
	if err != nil {
		return "", err
	}
	var chart struct {
		AppVersion string `json:"appVersion"`
	}
	if err := yaml.Unmarshal(content, &chart); err != nil || chart.AppVersion == "" {
		return "", fmt.Errorf("reading the appVersion of charts/akv2k8s/Chart.yaml: %w", err)
	}
	return chart.AppVersion, nil
}

// All makes every image of the product and of the test bed, and returns the archives by image name.
func (m Maker) All(ctx context.Context) (map[string]string, error) {
	specs, err := m.specs(ctx, Shipped(), runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	m.FIPS = false
	testOnly, err := m.specs(ctx, TestOnly(), runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	specs = append(specs, testOnly...)
	version, err := m.Version()
	if err != nil {
		return nil, err
	}
	testbox, err := Testbox(version)
	if err != nil {
		return nil, err
	}
	alias, private := testbox, testbox
	alias.Name, alias.User = examplesImage, "0:0"
	private.Name = PrivateImage
	v1, err := m.v1Images(ctx, testbox, version)
	if err != nil {
		return nil, err
	}
	return m.write(append(append(specs, testbox, alias, private), v1...))
}

// One makes the image of a name of Shipped, and returns its archive by the image's full name.
func (m Maker) One(ctx context.Context, name string) (map[string]string, error) {
	programs := slices.DeleteFunc(Shipped(), func(p Program) bool { return p.Image != name })
	specs, err := m.specs(ctx, programs, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	return m.write(specs)
}

// Release makes the images that users install, for this machine's architecture, and returns the archives by image name.
func (m Maker) Release(ctx context.Context) (map[string]string, error) {
	specs, err := m.specs(ctx, Shipped(), runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	return m.write(specs)
}

// specs compiles programs for an architecture and describes their images.
func (m Maker) specs(ctx context.Context, programs []Program, arch string) ([]Spec, error) {
	version, err := m.Version()
	if err != nil {
		return nil, err
	}
	var specs []Spec
	for _, p := range programs {
		files := map[string]File{"/etc/ssl/certs/ca-certificates.crt": {Content: PublicRoots(), Mode: 0o644}}
		for _, pkg := range p.Packages {
			content, err := m.compile(ctx, "./"+pkg, version, arch)
			if err != nil {
				return nil, err
			}
			files[binary(pkg)] = File{Content: content, Mode: 0o755}
		}
		maps.Copy(files, p.linkFiles())
		specs = append(specs, Spec{Name: Repository + p.Image + ":" + m.withFlavor(version),
			Entrypoint: []string{binary(p.Packages[0])}, User: nobody, Files: files,
			Architecture: arch})
	}
	return specs, nil
}

func (m Maker) write(specs []Spec) (map[string]string, error) {
	archives := map[string]string{}
	for _, spec := range specs {
		file := filepath.Join(m.Into, strings.NewReplacer("/", "_", ":", "_").Replace(spec.Name)+".tar")
		if err := Write(spec, file); err != nil {
			return nil, err
		}
		archives[spec.Name] = file
	}
	return archives, nil
}

func (m Maker) withFlavor(name string) string {
	if m.FIPS {
		return name + FIPSSuffix
	}
	return name
}

// ProgramFile is the name of a compiled program in the folder of programs.
func (m Maker) ProgramFile(pkg, arch string) string {
	return m.withFlavor(filepath.Base(pkg)) + "-" + arch
}

// compile builds a static program for an architecture and returns it.
func (m Maker) compile(ctx context.Context, pkg, version, arch string) ([]byte, error) {
	binary := filepath.Join(cmp.Or(m.Programs, m.Into), m.ProgramFile(pkg, arch))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary,
		"-ldflags", "-s -w -X github.com/akv2k8s/akv2k8s/src/version.version="+version, pkg)
	cmd.Dir, cmd.Stdout, cmd.Stderr = m.Root, m.Progress, m.Progress
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOARCH="+arch, "GOFIPS140=off")
	if m.FIPS {
		cmd.Env = append(cmd.Env, "GOFIPS140="+fipsModule)
	}
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("building %s: %w", pkg, err)
	}
	return os.ReadFile(binary)
}

// Static makes an image of one program of ours that needs nothing else, such as a part of the cluster itself.
func (m Maker) Static(ctx context.Context, imageName, pkg string) (string, error) {
	binary, err := m.compile(ctx, pkg, "0", runtime.GOARCH)
	if err != nil {
		return "", err
	}
	return m.Of(imageName, binary)
}

// Of makes an image of one program.
func (m Maker) Of(imageName string, binary []byte) (string, error) {
	archives, err := m.write([]Spec{{Name: imageName, Entrypoint: []string{"/program"}, User: "0:0",
		Files: map[string]File{"/program": {Content: binary, Mode: 0o755}}}})
	return archives[imageName], err
}

// PublicRoots are the public certificate authorities as PEM. Roots that are trusted under a constraint are left out: a
// file of certificates can't express it, and the programs carry them anyway.
func PublicRoots() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
		}
	}
	return out.Bytes()
}

// busybox is where Debian's busybox-static puts the program.
const busybox = "/bin/busybox"

// examplesImage is what the examples run. Debian's busybox takes its place where nothing can be pulled.
const examplesImage = "docker.io/library/busybox:1.37"

// Testbox is a workload for tests: a shell and what it needs.
func Testbox(version string) (Spec, error) {
	binary, err := os.ReadFile(busybox)
	if err != nil {
		return Spec{}, fmt.Errorf("reading busybox (Debian package busybox-static): %w", err)
	}
	files := map[string]File{busybox: {Content: binary, Mode: 0o755}}
	for _, applet := range []string{"sh", "env", "cat", "sleep", "echo", "ls", "id", "nc", "wget", "nslookup",
		"printenv", "true", "false",
		"test", "grep", "kill", "ps", "mount", "date", "head", "tr", "sort", "find", "stat", "sed", "pwd", "touch",
		"base64", "cp"} {
		files["/bin/"+applet] = File{Link: busybox, Mode: 0o777}
	}
	return Spec{Name: Repository + "testbox:" + version, Entrypoint: []string{"/bin/sh"}, User: nobody, Files: files},
		nil
}
