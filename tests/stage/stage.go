package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/tests/cluster/bed"
	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
	"github.com/akv2k8s/akv2k8s/tests/cluster/image"
)

// Stage is a cluster with the emulator in it.
type Stage struct {
	// Cluster is the cluster itself.
	Cluster bed.Cluster
	// Client and Kube talk to it as its administrator; REST is how.
	Client client.WithWatch
	Kube   kubernetes.Interface
	REST   *rest.Config
	// Azure is the emulator.
	Azure *Azure
	// Version is the tag of the product's images.
	Version string
	// Root is the repository's folder.
	Root string
	// FIPS says that the product's images are those with the FIPS 140-3 module.
	FIPS bool

	tools    build.Builder
	helm     string
	archives map[string]string
	progress io.Writer
	// registry is where a foreign cluster pulls our images from; empty if they are loaded under their own names.
	registry string
}

// Open brings the cluster up, builds and loads the images, and starts the emulator.
func Open(ctx context.Context, config bed.Config) (*Stage, error) {
	cluster, err := bed.Open(ctx, config)
	if err != nil {
		return nil, err
	}
	s := &Stage{Cluster: cluster, Root: config.Root, progress: config.Progress, FIPS: config.FIPS()}
	if config.Getenv("CLUSTER") == "current" {
		s.registry = strings.TrimSuffix(config.Getenv("IMAGE_REGISTRY"), "/")
	}
	cache, err := config.Cache()
	if err != nil {
		return nil, err
	}
	s.tools = build.Builder{Root: config.Root, Cache: cache, Progress: config.Progress}
	if s, err = s.ByHelm(ctx, config.Getenv("HELM")); err != nil {
		return nil, err
	}
	if s.Version, err = (image.Maker{Root: config.Root}).Version(); err != nil {
		return nil, err
	}
	if err := cluster.Up(ctx); err != nil {
		return s, err
	}
	if s.archives, err = bed.LoadProduct(ctx, config, cluster); err != nil {
		return s, err
	}
	if err := s.connect(); err != nil {
		return s, err
	}
	s.Azure, err = s.azure(ctx)
	return s, err
}

// Archives are the archives of the images of the product and of the test bed, by image name.
func (s *Stage) Archives() map[string]string { return s.archives }

func (s *Stage) connect() error {
	var err error
	if s.REST, err = clientcmd.BuildConfigFromFlags("", s.Cluster.Kubeconfig()); err != nil {
		return err
	}
	s.REST.QPS, s.REST.WarningHandler = -1, rest.NoWarnings{}
	log.SetLogger(logr.Discard()) // else the library complains that nobody did
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v2beta1.AddToScheme(scheme)); err != nil {
		return err
	}
	if s.Client, err = client.NewWithWatch(s.REST, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	s.Kube, err = kubernetes.NewForConfig(s.REST)
	return err
}

// Progress marks what is written to out, so that the runner of the tests shows it while a test runs.
func Progress(out io.Writer) io.Writer { return marked{out} }

type marked struct{ out io.Writer }

// Write implements io.Writer.
func (m marked) Write(text []byte) (int, error) {
	_, err := fmt.Fprintf(m.out, "progress: %s", text)
	return len(text), err
}

// Say prints a line of progress.
func (s *Stage) Say(format string, args ...any) { fmt.Fprintf(s.progress, format+"\n", args...) }

// Apply applies the objects of a manifest; one without a namespace goes into the one that is given.
func (s *Stage) Apply(ctx context.Context, namespace, manifest string) error {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(manifest), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading the manifest: %w", err)
		}
		if len(object.Object) == 0 {
			continue
		}
		if namespaced, err := s.Client.IsObjectNamespaced(object); err != nil {
			return fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
		} else if namespaced && object.GetNamespace() == "" {
			object.SetNamespace(namespace)
		}
		err := s.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("stage"),
			client.ForceOwnership)
		if err != nil {
			return fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
}

// Await asks until there is no error any more.
func Await(ctx context.Context, patience time.Duration, what string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s for %s: %w", patience, what, err)
		case <-time.After(150 * time.Millisecond):
		}
	}
}

// Helm runs helm on the cluster and returns what it printed.
func (s *Stage) Helm(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.helm, append([]string{"--kubeconfig", s.Cluster.Kubeconfig()}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("helm %s: %w: %s", args[0], err, errs.String())
	}
	return out.String(), nil
}

// Tool is the path of a program of tests/tools, which is built if it is not there.
func (s *Stage) Tool(ctx context.Context, name string) (string, error) {
	return s.tools.Tool(ctx, name)
}

// HelmProgram is the path of the program that Helm runs.
func (s *Stage) HelmProgram() string { return s.helm }

// ByHelm returns the same stage, on which Helm of another generation runs: 3 or 4. The default is 4, as in the README.
func (s *Stage) ByHelm(ctx context.Context, generation string) (*Stage, error) {
	program, known := map[string]string{"": "helm4", "4": "helm4", "3": "helm"}[generation]
	if !known {
		return nil, fmt.Errorf("HELM is %q; use 3 or 4", generation)
	}
	other := *s
	var err error
	other.helm, err = s.tools.Tool(ctx, program)
	return &other, err
}

// Chart is the product's chart.
func (s *Stage) Chart() string { return filepath.Join(s.Root, "charts", "akv2k8s") }

// exists says whether an error of a get means that the object is there, or not, or that something is wrong.
func exists(err error) (bool, error) {
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// LoadAs loads the product's images under names that begin with another registry and path.
func (s *Stage) LoadAs(ctx context.Context, prefix string) error {
	folder, err := os.MkdirTemp("", "images-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	archives := map[string]string{}
	for _, program := range image.Shipped() {
		original, err := tarball.ImageFromPath(s.archives[s.ProductImage(program.Image)], nil)
		if err != nil {
			return err
		}
		tag, err := name.NewTag(prefix + filepath.Base(s.ProductImage(program.Image)))
		if err != nil {
			return err
		}
		archives[tag.Name()] = filepath.Join(folder, program.Image+".tar")
		if err := tarball.WriteToFile(archives[tag.Name()], tag, original); err != nil {
			return err
		}
	}
	return s.Cluster.Load(ctx, archives)
}

// LoadV1Programs loads stand-ins of the programs of akv2k8s 1.8 under the names that its chart has.
func (s *Stage) LoadV1Programs(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "v1-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	maker := image.Maker{Root: s.Root, Into: folder, Progress: s.progress}
	archives := map[string]string{}
	for _, name := range []string{"controller", "webhook"} {
		name = "docker.io/spvest/azure-keyvault-" + name + ":1.8.2"
		if archives[name], err = maker.Static(ctx, name, "./tests/long/upgrade/v1-stub"); err != nil {
			return err
		}
	}
	return s.Cluster.Load(ctx, archives)
}
