package kubescore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// installation is one that kube-score looks at.
type installation struct {
	// values is the file of them, from the repository's root; empty means the defaults.
	values string
	// exceptions are what kube-score may find, each as "test of Kind", with the reason. One that it does not find is an
	// error too.
	exceptions map[string]string
}

// installations that are looked at, from the simplest to the safest.
func installations() []installation {
	const (
		root = "the default identity is in the node's azure.json, which only root may read; examples/restricted " +
			"is without it"
		resources = "no limit of processor time by default: it would slow down the start of every pod that waits for " +
			"a value (docs/sizing.md)"
		single = "one controller works at a time, and a second one only shortens the gap when its node is lost"
	)
	return []installation{
		{exceptions: everywhere(map[string]string{
			"container-resources of Deployment":                      resources,
			"container-security-context-user-group-id of Deployment": root,
			"deployment-replicas of Deployment":                      single,
			"pod-networkpolicy of Deployment": "off by default: on upgrades with unchanged " +
				"values it would cut connections that only users know of",
		})},
		{values: "examples/production-ha/values.yaml", exceptions: everywhere(map[string]string{
			"container-resources of Deployment": "no limit of the CPU: it would slow down pods' " +
				"start while the node has CPU to spare",
			"container-security-context-user-group-id of Deployment": root,
		})},
		{values: "examples/restricted/values.yaml", exceptions: everywhere(map[string]string{
			"container-resources of Deployment": resources,
			"deployment-replicas of Deployment": single,
		})},
	}
}

// everywhere adds the exceptions that hold for every installation.
func everywhere(exceptions map[string]string) map[string]string {
	const (
		pull = "a version's image never changes, and a pod has to start while the registry is away; " +
			"image.pullPolicy is there for tags that move"
		test    = "the pod of helm test lives for seconds, and nothing connects to it"
		storage = "the root is read-only and no volume is written to, so only the log takes storage"
	)
	maps.Copy(exceptions, map[string]string{
		"container-image-pull-policy of Deployment":                   pull,
		"container-image-pull-policy of Job":                          pull,
		"container-image-pull-policy of Pod":                          pull,
		"pod-networkpolicy of Pod":                                    test,
		"container-ephemeral-storage-request-and-limit of Deployment": storage,
		"container-ephemeral-storage-request-and-limit of Job":        storage,
		"deployment-has-host-podantiaffinity of Deployment": "replicas are spread by " +
			"topologySpreadConstraints, which kube-score does not count for this",
		"pod-networkpolicy of Job": "it runs before the policies of a first installation are there, and asks the API " +
			"server alone",
	})
	return exceptions
}

// Check has kube-score look at what installations render. run runs a tool in the repository's root, and writes its
// output to out.
func Check(ctx context.Context, run func(ctx context.Context, out io.Writer, call ...string) error) error {
	folder, err := os.MkdirTemp("", "akv2k8s-score-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	file := filepath.Join(folder, "rendered.yaml")
	var wrong error
	for _, i := range installations() {
		args := []string{"helm", "template", "akv2k8s", "charts/akv2k8s", "--namespace", "akv2k8s"}
		if i.values != "" {
			args = append(args, "--values", i.values)
		}
		var rendered, report bytes.Buffer
		if err := run(ctx, &rendered, args...); err != nil {
			return fmt.Errorf("%w\n%s", err, rendered.String())
		}
		if err := os.WriteFile(file, rendered.Bytes(), 0o600); err != nil {
			return err
		}
		err := run(ctx, &report, "kube-score", "score", "--output-format", "json", "--kubernetes-version",
			"v1.30", file)
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) { // it exits by 1 if it finds something
			return err
		}
		if err := i.judge(report.Bytes()); err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("kube-score, the chart with values %q: %w", i.values, err))
		}
	}
	return wrong
}

// scored is an object in kube-score's report.
type scored struct {
	Type struct {
		Kind string `json:"kind"`
	} `json:"type_meta"`
	Meta struct {
		Name string `json:"name"`
	} `json:"object_meta"`
	Checks []check `json:"checks"`
}

// check is one test of an object.
type check struct {
	Check struct {
		ID string `json:"id"`
	} `json:"check"`
	// Grade is 10 if all is well, 5 for a warning and 1 for what is critical.
	Grade    int  `json:"grade"`
	Skipped  bool `json:"skipped"`
	Comments []struct {
		Summary string `json:"summary"`
	} `json:"comments"`
}

func (c check) failed() bool { return !c.Skipped && c.Grade <= 5 }

func (c check) why() string {
	var all []string
	for _, comment := range c.Comments {
		all = append(all, comment.Summary)
	}
	return strings.Join(all, ", ")
}

// judge says what was found that is no exception, and which exceptions were not found.
func (i installation) judge(report []byte) error {
	var objects []scored
	if err := json.Unmarshal(report, &objects); err != nil {
		return fmt.Errorf("reading its report: %w\n%s", err, report)
	}
	if len(objects) == 0 {
		return errors.New("it looked at nothing")
	}
	stale := maps.Clone(i.exceptions)
	var found []string
	for _, object := range objects {
		for _, check := range object.Checks {
			if !check.failed() {
				continue
			}
			what := check.Check.ID + " of " + object.Type.Kind
			delete(stale, what)
			if _, excepted := i.exceptions[what]; !excepted {
				found = append(found, fmt.Sprintf("%s %s: %s", what, object.Meta.Name, check.why()))
			}
		}
	}
	slices.Sort(found)
	if len(found) > 0 {
		return fmt.Errorf("it finds %s; repair it, or give the reason in tests/run/score.go", strings.Join(found, ", "))
	}
	if len(stale) > 0 {
		return fmt.Errorf("it does not find %s; take the exception out of tests/run/score.go",
			strings.Join(slices.Sorted(maps.Keys(stale)), ", "))
	}
	return nil
}
