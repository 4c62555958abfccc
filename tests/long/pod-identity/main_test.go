//go:build cluster

package podidentity

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/akv2k8s/akv2k8s/tests/cluster/bed"
	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

func TestBesideAadPodIdentity(t *testing.T) {
	config := stagetest.Config(t, "pod-identity")
	s := stagetest.Open(t, config)
	cluster, ok := s.Cluster.(*local.Cluster)
	if !ok {
		t.Skip("NMI is started in the network of the local cluster's node, and changes its packet filter; use CLUSTER=local")
	}
	startNMI(t, s, cluster, config)
	t.Run("without an exception the product's requests are intercepted, and the condition says so", func(t *testing.T) { intercepted(t, s) })
	t.Run("with the exception they are not, and other pods' still are", func(t *testing.T) { excepted(t, s) })
	t.Run("option 1: controller and env-injector get the tokens of their AzureIdentity and no other", func(t *testing.T) { option1(t, s) })
	t.Run("option 2: each application pod gets the tokens of its AzureIdentity and no other", func(t *testing.T) { option2(t, s) })
	examples(t, s)
}

// startNMI installs aad-pod-identity's own definitions from its module, and runs its NMI as its managed-mode deployment
// does.
func startNMI(t *testing.T, s *stage.Stage, cluster *local.Cluster, config bed.Config) {
	t.Helper()
	// Of a module that was not downloaded yet, go list knows no folder.
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", "github.com/Azure/aad-pod-identity")
	cmd.Dir = filepath.Join(s.Root, "tests", "tools", "nmi")
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.Output()
	require.NoError(t, err)
	var module struct{ Dir string }
	require.NoError(t, json.Unmarshal(out, &module))
	require.NotEmpty(t, module.Dir)
	cache, err := config.Cache()
	require.NoError(t, err)
	nmi, err := build.Builder{Root: s.Root, Cache: cache, Progress: config.Progress}.Tool(t.Context(), "nmi")
	require.NoError(t, err)
	manifest, err := os.ReadFile(filepath.Join(module.Dir, "deploy", "infra", "managed-mode-deployment.yaml"))
	require.NoError(t, err)
	definitions := 0
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096); ; {
		object := &unstructured.Unstructured{}
		if decoder.Decode(object) != nil {
			break
		}
		if object.GetKind() == "CustomResourceDefinition" {
			definitions++
			unstructured.RemoveNestedField(object.Object, "status")
			content, err := object.MarshalJSON()
			require.NoError(t, err)
			require.NoError(t, s.Apply(t.Context(), "", string(content)))
		}
	}
	require.Equal(t, 3, definitions)
	require.NoError(t, cluster.OnNode(nmi, "--node=node1", "--operation-mode=managed", "--forceNamespaced", "--http-probe-port=18085", "--prometheus-port=18086",
		"--metadata-header-required=true", "--nmi-listen-address="+cluster.NodeIP(), "--find-identity-retry-interval=1",
		"--kubelet-config="+filepath.Join(filepath.Dir(cluster.Kubeconfig()), "kubelet.yaml")))
	require.NoError(t, stage.Await(t.Context(), time.Minute, "NMI", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+cluster.NodeIP()+":18085/healthz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		var body bytes.Buffer
		if _, err := body.ReadFrom(response.Body); err != nil || body.String() != "Active" {
			return fmt.Errorf("it says %q, %w; its log is %s", body.String(), err, cluster.Log("nmi"))
		}
		return nil
	}))
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(cluster.Log("nmi"))
			t.Logf("NMI said:\n%s", log[max(0, len(log)-6000):])
		}
	})
}
