package stage

import (
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
