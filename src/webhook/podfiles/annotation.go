package podfiles

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe/fileformat"
)

// The options of an entry.
const (
	optionFrom     = "from"
	optionMode     = "mode"
	optionFormat   = "format"
	optionPassword = "password"
)

// tagString is the YAML tag of a text.
const tagString = "!!str"

// parseAnnotation parses one annotation, in the order of its text. Aliases need no limit of their own: an entry has two
// levels, the keys of each level are different, and each key is visited once.
func parseAnnotation(name, text string) ([]request, error) {
	name = "annotation " + printable(name)
	if len(text) > limits.FilesAnnotationBytes {
		return nil, invalidError("use folders (a path that ends with a slash) in place of many files",
			"%s has more than %s", name, limits.Bytes(limits.FilesAnnotationBytes))
	}
	root, ok := parseDocument(text)
	if !ok {
		// In braces, YAML takes a question mark as the beginning of a key.
		return nil, invalidError("write YAML or JSON such as /etc/app/password: NAME@azurekeyvault, and quotes around "+
			"a reference with a question mark that is in braces", "%s is not a mapping from path to reference", name)
	}
	if len(root.Content)/2 > limits.PodFiles {
		return nil, tooManyFilesError()
	}
	var requests []request
	seen := map[string]bool{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		path, ok := textOf(root.Content[i])
		if !ok {
			return nil, invalidError("use absolute paths as keys", "%s has a key that is not a text", name)
		}
		where := name + ", path " + printable(path)
		if seen[path] {
			return nil, invalidError("remove one", "%s is there twice", where)
		}
		seen[path] = true
		r, err := parseRequest(where, path, root.Content[i+1])
		if err != nil {
			return nil, err
		}
		requests = append(requests, r)
	}
	return requests, nil
}

// parseDocument returns the mapping of the only document of a text.
func parseDocument(text string) (*yaml.Node, bool) {
	if json.Valid([]byte(text)) {
		// YAML does not know all escapes of JSON.
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		root := jsonNode(decoder)
		return root, root.Kind == yaml.MappingNode
	}
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	var first, next yaml.Node
	if decoder.Decode(&first) != nil || len(first.Content) != 1 || first.Content[0].Kind != yaml.MappingNode {
		return nil, false
	}
	return first.Content[0], errors.Is(decoder.Decode(&next), io.EOF)
}

// jsonNode is the next value of valid JSON as a YAML node. The decoder limits the levels.
func jsonNode(decoder *json.Decoder) *yaml.Node {
	token, err := decoder.Token()
	if err != nil { // can't happen: the text is valid
		return &yaml.Node{}
	}
	switch value := token.(type) {
	case json.Delim:
		kinds := map[json.Delim]yaml.Kind{'{': yaml.MappingNode, '[': yaml.SequenceNode}
		node := &yaml.Node{Kind: kinds[value]}
		for decoder.More() {
			node.Content = append(node.Content, jsonNode(decoder))
		}
		_, _ = decoder.Token() // the closing bracket
		return node
	case string:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tagString, Value: value, Style: yaml.DoubleQuotedStyle}
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: value.String()}
	}
	return &yaml.Node{Kind: yaml.ScalarNode}
}

// resolveAlias returns the node that an alias stands for.
func resolveAlias(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

// textOf returns the text of a node that is one.
func textOf(node *yaml.Node) (string, bool) {
	node = resolveAlias(node)
	return node.Value, node.Kind == yaml.ScalarNode && node.ShortTag() == tagString
}

// parseRequest parses the value of a path: a reference, or a mapping of options.
func parseRequest(where, path string, value *yaml.Node) (request, error) {
	r := request{path: strings.TrimSuffix(path, "/"), entry: Entry{IsFolder: strings.HasSuffix(path, "/"),
		Mode: DefaultMode, Format: fileformat.Raw}}
	if err := checkPath(where, path); err != nil {
		return request{}, err
	}
	value = resolveAlias(value)
	options := map[string]*yaml.Node{optionFrom: value}
	if value.Kind == yaml.MappingNode {
		var err error
		if options, err = optionsOf(where, value); err != nil {
			return request{}, err
		}
	}
	if err := r.entry.setOptions(where, options); err != nil {
		return request{}, err
	}
	return r, r.entry.checkCombination(where)
}

// optionsOf returns the values of a mapping of options, by name.
func optionsOf(where string, mapping *yaml.Node) (map[string]*yaml.Node, error) {
	known := []string{optionFrom, optionMode, optionFormat, optionPassword}
	options := map[string]*yaml.Node{}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		option, ok := textOf(mapping.Content[i])
		if !ok || !slices.Contains(known, option) {
			return nil, invalidError("use "+strings.Join(known, ", "), "%s: the option %s is not known", where,
				printable(resolveAlias(mapping.Content[i]).Value))
		}
		if options[option] != nil {
			return nil, invalidError("remove one", "%s: the option %s is there twice", where, option)
		}
		options[option] = mapping.Content[i+1]
	}
	return options, nil
}

// setOptions parses the options of an entry.
func (e *Entry) setOptions(where string, options map[string]*yaml.Node) (err error) {
	if e.Reference, err = parseReference(where, optionFrom, options[optionFrom]); err != nil {
		return err
	}
	if node := options[optionPassword]; node != nil {
		password, err := parseReference(where, optionPassword, node)
		if err != nil {
			return err
		}
		e.Password = &password
	}
	if node := options[optionMode]; node != nil {
		if e.Mode, err = parseMode(where, node); err != nil {
			return err
		}
	}
	if node := options[optionFormat]; node != nil {
		text, ok := textOf(node)
		e.Format = fileformat.Format(text)
		if !ok || !slices.Contains(fileformat.Formats(), e.Format) {
			return invalidError("use "+formatNames(), "%s: the format is not known", where)
		}
	}
	return nil
}

func formatNames() string {
	var names []string
	for _, format := range fileformat.Formats() {
		names = append(names, string(format))
	}
	return strings.Join(names, ", ")
}

// parseReference parses a reference. No error quotes the text, which can be a value that was pasted here.
func parseReference(where, option string, node *yaml.Node) (envref.Reference, error) {
	if node == nil {
		return envref.Reference{}, invalidError("write from: NAME@azurekeyvault", "%s has no reference", where)
	}
	text, isText := textOf(node)
	reference, err := envref.Parse(text)
	if err != nil || !isText {
		return envref.Reference{}, invalidError("write NAME@azurekeyvault or NAME@azurekeyvault?KEY, NAME being an "+
			"AzureKeyVaultSecret of the pod's namespace", "%s: the option %s is not a reference", where, option)
	}
	return reference, nil
}

// modePattern matches three octal digits, with or without a leading zero.
var modePattern = regexp.MustCompile(`^0?[0-7]{3}$`)

// parseMode parses a mode. A number without quotes and leading zero is ambiguous: in JSON, Kubernetes reads modes as
// decimal numbers.
func parseMode(where string, node *yaml.Node) (fs.FileMode, error) {
	node = resolveAlias(node)
	_, isText := textOf(node)
	if node.Kind != yaml.ScalarNode || !modePattern.MatchString(node.Value) || !isText && node.Value[0] != '0' {
		return 0, invalidError(`write three octal digits after a zero, in quotes, such as "0400"`,
			"%s: the mode is not one of 0000 to 0777", where)
	}
	mode, err := strconv.ParseUint(node.Value, 8, 32)
	return fs.FileMode(mode), err
}

// checkCombination checks the options against one another.
func (e Entry) checkCombination(where string) error {
	switch {
	case e.IsFolder && e.Format != fileformat.Raw:
		return invalidError("remove the slash at the end of the path, or the format",
			"%s is a folder, which has no format", where)
	case e.Password != nil && !e.Format.NeedsPassword():
		return invalidError("remove the password, or choose the format pfx or jks",
			"%s: the format %s has no password", where, e.Format)
	case e.Password == nil && e.Format.NeedsPassword():
		return invalidError("add password: NAME@azurekeyvault", "%s: the format %s needs a password", where, e.Format)
	case e.IsFolder && e.Reference.Query != "":
		return invalidError("remove the question mark and what follows it, or the slash at the end of the path",
			"%s is a folder with all data keys, and its reference selects one", where)
	case e.Format.HoldsAllKeys() && e.Reference.Query != "":
		return invalidError("remove the question mark and what follows it, or use the format raw",
			"%s: the format %s holds all data keys, and the reference selects one", where, e.Format)
	}
	return nil
}
