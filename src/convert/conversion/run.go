package conversion

import (
	"context"
	"fmt"
	"slices"

	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
	"github.com/akv2k8s/akv2k8s/src/convert/schema"
)

// Input is one file of manifests or values.
type Input struct {
	Name    string
	Content []byte
}

// Result is the outcome of a conversion.
type Result struct {
	// Documents are the YAML texts of all objects, in the order of the input. Some only have comments.
	Documents []string
	// Values are documents with values of the chart, as YAML texts.
	Values []string
	// Findings are in the order of the input.
	Findings []Finding
	// Objects counts the documents of the input, Converted those that became others, Resources the
	// AzureKeyVaultSecrets.
	Objects, Converted, Resources int
	// OnlyValues is true if the input has values of the chart and nothing else.
	OnlyValues bool
}

// HasLeftOut reports whether something was left out.
func (r *Result) HasLeftOut() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind == LeftOut })
}

// Source is a format that can be converted. It lives for one run, so it can keep what it has collected.
type Source interface {
	// Matches reports whether the format has the object.
	Matches(*Object) bool
	// Collect reads what other objects refer to, before anything is converted.
	Collect(*Object)
	// Convert adds what the object becomes.
	Convert(*Object)
}

// Run converts documents. The first source that matches converts an object.
type Run struct {
	sources   []Source
	reader    *manifest.Reader
	validator *schema.Validator
	// values are those that stores and identities become.
	values *Values
	result Result
	// names are the namespaces and names of resources.
	names map[string]bool
}

// New returns a Run with these sources. The last one must match every object.
func New(sources []Source) (*Run, error) {
	validator, err := schema.Current()
	if err != nil {
		return nil, err
	}
	return &Run{sources: sources, reader: &manifest.Reader{}, validator: validator, values: newValues(),
		names: map[string]bool{}}, nil
}

// Convert converts all inputs. It fails with a *manifest.InputError if an input can't be read, or is larger than the
// limits.
func (r *Run) Convert(ctx context.Context, inputs []Input) (*Result, error) {
	var all []*Object
	for _, input := range inputs {
		documents, err := r.reader.Read(input.Name, input.Content)
		if err != nil {
			return nil, err
		}
		for _, document := range documents {
			all = append(all, r.newObject(document))
		}
	}
	for _, o := range all {
		o.source.Collect(o)
	}
	r.result.OnlyValues = len(all) > 0
	for _, o := range all {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := o.convert(ctx); err != nil {
			return nil, err
		}
	}
	r.result.Objects = len(all)
	if !r.values.isEmpty() {
		text, err := r.values.encode()
		if err != nil {
			return nil, fmt.Errorf("writing the values: %w", err)
		}
		r.result.Values = append(r.result.Values, text)
	}
	return &r.result, nil
}
