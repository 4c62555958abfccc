package stage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
)

// Release says how the product is installed.
type Release struct {
	// Name and Namespace of the release.
	Name, Namespace string
	// Values go to the chart, on top of what the stage needs: the emulator's CA, and the digests of the images, so that
	// pods are replaced when the code was changed.
	Values map[string]any
}

// Install installs the product, or upgrades it if the chart, the values or the images are not what is installed.
func (s *Stage) Install(ctx context.Context, r Release) error {
	content, err := s.content(r)
	if err != nil {
		return err
	}
	digest, err := s.digest(content)
	if err != nil {
		return err
	}
	if s.installed(ctx, r, digest) {
		s.Say("akv2k8s is installed already")
		return nil
	}
	started := time.Now()
	_, err = s.helmWith(ctx, content, "upgrade", "--install", r.Name, s.Chart(), "--namespace", r.Namespace,
		"--create-namespace",
		"--description", digest, "--wait", "--timeout", "3m")
	if err != nil {
		return err
	}
	s.Say("installed akv2k8s by helm in %.1fs", time.Since(started).Seconds())
	return nil
}

// Overrides are the values that the stage needs, as a file: the emulator's CA, and the images.
func (s *Stage) Overrides() ([]byte, error) { return s.content(Release{}) }

// Template is what helm template makes of a release, for those who apply it by other means.
func (s *Stage) Template(ctx context.Context, r Release) (string, error) {
	content, err := s.content(r)
	if err != nil {
		return "", err
	}
	return s.helmWith(ctx, content, "template", r.Name, s.Chart(), "--namespace", r.Namespace)
}

// helmWith runs helm with values in a file.
func (s *Stage) helmWith(ctx context.Context, values []byte, args ...string) (string, error) {
	file, err := os.CreateTemp("", "values-*.yaml")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(values)
	if err = errors.Join(err, file.Close()); err != nil {
		return "", err
	}
	return s.Helm(ctx, append(args, "--values", file.Name())...)
}

// content is the values as a file.
func (s *Stage) content(r Release) ([]byte, error) {
	values, err := s.values(r)
	if err != nil {
		return nil, err
	}
	return yaml.Marshal(values)
}

// values merges what the stage needs under what the release wants.
func (s *Stage) values(r Release) (map[string]any, error) {
	images, err := s.imageDigest()
	if err != nil {
		return nil, err
	}
	component := func(image string) map[string]any {
		return map[string]any{"podAnnotations": map[string]any{"test/images": images},
			"image": map[string]any{"repository": s.repository(image)}}
	}
	base := map[string]any{"global": map[string]any{"extraCACertificates": s.Azure.CA, "fips": s.FIPS},
		"controller": component("controller"),
		"env_injector": Merge(component("env-injector"),
			map[string]any{"envImage": map[string]any{"repository": s.repository("env")}})}
	if s.registry != "" { // the nodes of a foreign cluster have no azure.json for the emulator
		base = Merge(base, map[string]any{"global": map[string]any{"keyVaultAuth": "environment", "env": map[string]any{
			"AZURE_TENANT_ID": local.TenantID, "AZURE_CLIENT_ID": AppClientID, "AZURE_CLIENT_SECRET": AppSecret}}})
	}
	return Merge(base, r.Values), nil
}

// Merge puts b over a, value by value.
func Merge(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	for key, value := range b {
		left, leftIsMap := out[key].(map[string]any)
		right, rightIsMap := value.(map[string]any)
		if leftIsMap && rightIsMap {
			value = Merge(left, right)
		}
		out[key] = value
	}
	return out
}

func (s *Stage) imageDigest() (string, error) {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(s.archives)) {
		content, err := os.ReadFile(s.archives[name])
		if err != nil {
			return "", err
		}
		sum.Write(content)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// digest is of everything that an installation is made of.
func (s *Stage) digest(values []byte) (string, error) {
	sum := sha256.New()
	sum.Write(values)
	err := filepath.WalkDir(s.Chart(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		fmt.Fprintf(sum, "%s %d ", path, len(content))
		sum.Write(content)
		return err
	})
	return "test-bed " + hex.EncodeToString(sum.Sum(nil))[:16], err
}

func (s *Stage) installed(ctx context.Context, r Release, digest string) bool {
	out, err := s.Helm(ctx, "status", r.Name, "--namespace", r.Namespace, "--output", "json")
	var status struct {
		Info struct{ Status, Description string }
	}
	return err == nil && json.Unmarshal([]byte(out), &status) == nil && status.Info.Status == "deployed" &&
		status.Info.Description == digest
}

// Settled waits until no pod of a namespace is on its way out. One that is may still be asked by the API server, and
// injects as it was told before.
func (s *Stage) Settled(ctx context.Context, namespace string) error {
	return Await(ctx, time.Minute, "the end of replaced pods", func(ctx context.Context) error {
		var pods corev1.PodList
		if err := s.Client.List(ctx, &pods, inNamespace(namespace)); err != nil {
			return err
		}
		if i := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil }); i >= 0 {
			return fmt.Errorf("%s is still there", pods.Items[i].Name)
		}
		return nil
	})
}

// Namespace makes a namespace, with injection enabled if wanted.
func (s *Stage) Namespace(ctx context.Context, name string, labels map[string]string) error {
	namespace := &corev1.Namespace{}
	namespace.Name, namespace.Labels = name, labels
	if there, err := exists(s.Client.Get(ctx, types.NamespacedName{Name: name}, &corev1.Namespace{})); there ||
		err != nil {
		return err
	}
	return s.Client.Create(ctx, namespace)
}

// Logs are of all containers of all pods of a namespace, by pod and container, including those of containers that ended
// before.
func (s *Stage) Logs(ctx context.Context, namespace string) (map[string]string, error) {
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, inNamespace(namespace)); err != nil {
		return nil, err
	}
	logs := map[string]string{}
	for _, pod := range pods.Items {
		for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			for _, previous := range []bool{false, true} {
				content, err := s.Kube.CoreV1().Pods(namespace).GetLogs(pod.Name,
					&corev1.PodLogOptions{Container: container.Name, Previous: previous}).DoRaw(ctx)
				if err != nil {
					continue // not started, or never restarted
				}
				logs[strings.Join([]string{pod.Name, container.Name, fmt.Sprint(previous)}, "/")] = string(content)
			}
		}
	}
	return logs, nil
}
