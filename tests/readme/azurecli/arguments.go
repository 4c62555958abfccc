package azurecli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jmespath/go-jmespath"
)

// command is one of az.
type command struct {
	// needs and takes are its options with one value, required and not; lists are those with several, flags those
	// without.
	needs, takes, lists, flags []string
	do                         func(a *Azure, ctx context.Context, o options) (any, error)
}

// options are those of one call, by name without the dashes.
type options struct {
	values map[string][]string
	folder string
}

func (o options) one(name string) string {
	if values := o.values[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func (o options) has(name string) bool {
	_, ok := o.values[name]
	return ok
}

// file reads a file that an option names.
func (o options) file(name string) (string, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(o.folder, name)
	}
	content, err := os.ReadFile(name)
	return string(content), err
}

// commands are all that are known, by their words.
func commands() map[string]command {
	all := map[string]command{}
	parts := []map[string]command{vaultCommands(), directoryCommands(), clusterCommands(), registryCommands()}
	for _, part := range parts {
		maps.Copy(all, part)
	}
	return all
}

// parse understands a call as az does: words, then options.
func parse(call Call) (command, options, error) {
	words := call.Args
	if i := slices.IndexFunc(call.Args, func(arg string) bool { return strings.HasPrefix(arg, "-") }); i >= 0 {
		words = call.Args[:i]
	}
	o := options{values: map[string][]string{}, folder: call.Folder}
	c, ok := commands()[strings.Join(words, " ")]
	if !ok {
		return c, o, fmt.Errorf("'%s' is misspelled or not recognized by the system", strings.Join(words, " "))
	}
	name := ""
	for _, arg := range call.Args[len(words):] {
		switch {
		case strings.HasPrefix(arg, "-"):
			name = strings.TrimPrefix(arg, "--")
			if !slices.Contains(c.options(), name) || !strings.HasPrefix(arg, "--") {
				return c, o, fmt.Errorf("unrecognized arguments: %s", arg)
			}
			if o.has(name) {
				return c, o, fmt.Errorf("argument --%s is there twice", name)
			}
			o.values[name] = nil
		case slices.Contains(c.flags, name) || len(o.values[name]) > 0 && !slices.Contains(c.lists, name):
			return c, o, fmt.Errorf("unrecognized arguments: %s", arg)
		default:
			o.values[name] = append(o.values[name], arg)
		}
	}
	return c, o, c.check(o)
}

// options are all names that a command takes.
func (c command) options() []string {
	return slices.Concat(c.needs, c.takes, c.lists, c.flags, []string{"query", "output"})
}

// check refuses options that are missing or empty.
func (c command) check(o options) error {
	for _, name := range c.needs {
		if !o.has(name) {
			return fmt.Errorf("the following arguments are required: --%s", name)
		}
	}
	for name, values := range o.values {
		if len(values) == 0 && !slices.Contains(c.flags, name) {
			return fmt.Errorf("argument --%s: expected at least one argument", name)
		}
		if slices.Contains(values, "") {
			return fmt.Errorf("argument --%s is empty", name)
		}
	}
	if output := o.one("output"); !slices.Contains([]string{"", "json", "none", "tsv"}, output) {
		return fmt.Errorf("the stand-in has no output %q; use tsv, json or none", output)
	}
	return nil
}

// print is the result in the wanted form.
func (o options) print(result any) (string, error) {
	content, err := json.Marshal(result)
	if err != nil {
		return "", err
	}
	var plain any
	if err := json.Unmarshal(content, &plain); err != nil {
		return "", err
	}
	if query := o.one("query"); query != "" && plain != nil {
		if plain, err = jmespath.Search(query, plain); err != nil {
			return "", fmt.Errorf("argument --query: %w", err)
		}
	}
	switch {
	case o.one("output") == "none" || result == nil:
		return "", nil
	case o.one("output") != "tsv":
		content, err := json.MarshalIndent(plain, "", "  ")
		return string(content) + "\n", err
	}
	return tabSeparated(plain)
}

// tabSeparated is one line for each value.
func tabSeparated(plain any) (string, error) {
	rows, isList := plain.([]any)
	if !isList {
		rows = []any{plain}
	}
	var out strings.Builder
	for _, row := range rows {
		switch row.(type) {
		case nil:
		case map[string]any, []any:
			return "", errors.New("the stand-in prints no objects as tsv; choose a field by --query")
		default:
			fmt.Fprintln(&out, row)
		}
	}
	return out.String(), nil
}
