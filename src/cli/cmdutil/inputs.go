package cmdutil

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/convert/conversion"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// ReadInputs reads files and folders, as kubectl does: of a folder the files that end in .yaml, .yml or .json, in the
// order of their names.
func ReadInputs(names []string, recursive bool, stdin io.Reader) ([]conversion.Input, error) {
	left := &inputBudget{bytes: limits.ConvertBytes, files: limits.ConvertFiles}
	var all []conversion.Input
	for _, name := range names {
		if name == "-" {
			content, err := left.readAll("standard input", stdin)
			if err != nil {
				return nil, err
			}
			all = append(all, conversion.Input{Name: "standard input", Content: content})
			continue
		}
		if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
			return nil, UsageErrorf("%s is a URL, and only files are read; download it first", name)
		}
		paths, err := listFiles(name, recursive)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			input, err := left.readFile(path)
			if err != nil {
				return nil, err
			}
			all = append(all, input)
		}
	}
	return all, nil
}

// listFiles returns the files that a name stands for.
func listFiles(name string, recursive bool) ([]string, error) {
	info, err := os.Stat(name)
	if err != nil || !info.IsDir() {
		return []string{name}, err
	}
	var paths []string
	err = filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != name && !recursive:
			return filepath.SkipDir
		case !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			paths = append(paths, path)
		}
		return nil
	})
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("the folder %s has no file that ends in .yaml, .yml or .json", name)
	}
	return paths, err
}

// inputBudget is what is left to read.
type inputBudget struct{ bytes, files int }

func (b *inputBudget) readFile(path string) (conversion.Input, error) {
	if b.files--; b.files < 0 {
		return conversion.Input{}, fmt.Errorf("there are more than %s files; pass fewer files at a time",
			limits.Count(limits.ConvertFiles))
	}
	file, err := os.Open(path)
	if err != nil {
		return conversion.Input{}, err
	}
	defer func() { _ = file.Close() }() // it was only read
	content, err := b.readAll(path, file)
	return conversion.Input{Name: filepath.ToSlash(path), Content: content}, err
}

func (b *inputBudget) readAll(name string, from io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(from, int64(b.bytes)+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if b.bytes -= len(content); b.bytes < 0 {
		return nil, fmt.Errorf("%s: the input is larger than %s; pass fewer files at a time", name,
			limits.Bytes(limits.ConvertBytes))
	}
	return content, nil
}
