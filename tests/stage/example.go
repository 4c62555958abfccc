package stage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// Example is a folder of examples.
type Example struct {
	// Name of the folder, and its path.
	Name, Folder string
	// Values go to the chart.
	Values map[string]any
}

// Example reads one.
func (s *Stage) Example(name string) (Example, error) {
	e := Example{Name: name, Folder: filepath.Join(s.Root, "examples", name)}
	content, err := os.ReadFile(filepath.Join(e.Folder, "values.yaml"))
	if err != nil {
		return e, err
	}
	return e, yaml.Unmarshal(content, &e.Values)
}

// File is one of its files; empty if it has none of that name.
func (e Example) File(name string) (string, error) {
	content, err := os.ReadFile(filepath.Join(e.Folder, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(content), err
}

// Try does what the example's README says: what comes before the chart, the chart, and the resources.
func (s *Stage) Try(ctx context.Context, e Example) error {
	if err := s.Namespace(ctx, "akv2k8s", nil); err != nil {
		return err
	}
	if err := s.Settled(ctx, "akv2k8s"); err != nil { // the example before
		return err
	}
	for _, file := range []string{"namespaces.yaml", "identity.yaml", "credentials.yaml", "", "resources.yaml"} {
		if file == "" {
			if err := s.Install(ctx, Release{Name: "akv2k8s", Namespace: "akv2k8s", Values: e.Values}); err != nil {
				return err
			}
			continue
		}
		content, err := e.File(file)
		if err != nil {
			return err
		}
		if err := s.Apply(ctx, "default", content); err != nil {
			return err
		}
	}
	return nil
}
