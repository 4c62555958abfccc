package conversion

import (
	"context"
	"fmt"

	"go.yaml.in/yaml/v3"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"

	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
)

// ResourceFields returns the schema of an AzureKeyVaultSecret.
func (o *Object) ResourceFields() *structuralschema.Structural { return o.run.validator.Fields() }

// Rewrite makes the node, an AzureKeyVaultSecret in the current version, what the object becomes.
func (o *Object) Rewrite(node *yaml.Node) { o.rewritten = node }

// SetChartValues makes the node, a document of values, what the object becomes.
func (o *Object) SetChartValues(node *yaml.Node) {
	o.Kind = "values"
	o.chartValues = node
}

// checkResources drops resources that the API server would reject, and says so.
func (o *Object) checkResources(ctx context.Context) error {
	if o.rewritten != nil {
		content := map[string]any{}
		if err := decodeJSON(o.rewritten, &content); err != nil {
			return err
		}
		for _, problem := range o.run.validator.Check(ctx, content) {
			o.Say(LeftOut, manifest.Field{}, "the resource is invalid: %s", problem)
			o.rewritten = nil
		}
	}
	for _, r := range o.Resources {
		decoded, err := r.decoded()
		if err != nil {
			return err
		}
		for _, problem := range o.run.validator.Check(ctx, decoded) {
			r.invalid = true
			o.Say(LeftOut, manifest.Field{}, "AzureKeyVaultSecret %q would be invalid: %s", r.Metadata.Name, problem)
		}
	}
	return nil
}

// addOutput adds the documents of the object to the result.
func (o *Object) addOutput() error {
	texts, err := o.resourceTexts()
	if err != nil {
		return fmt.Errorf("%s: %w", o.title(), err)
	}
	result := &o.run.result
	result.Resources += len(texts)
	if o.passesThrough {
		text, err := o.Doc.Text()
		if err != nil {
			return fmt.Errorf("%s: %w", o.title(), err)
		}
		texts = append(texts, text)
	} else {
		result.Converted++
	}
	comments := commentLines(o.Comments)
	if o.chartValues != nil {
		return o.addValues(comments)
	}
	result.OnlyValues = false
	if comments != "" {
		if len(texts) == 0 {
			texts = []string{""}
			comments = "# " + o.title() + "\n" + comments
		}
		texts[0] = comments + "\n" + texts[0]
	}
	result.Documents = append(result.Documents, texts...)
	return nil
}

// resourceTexts returns the AzureKeyVaultSecrets of the object as YAML.
func (o *Object) resourceTexts() ([]string, error) {
	var texts []string
	for _, r := range o.Resources {
		if r.invalid {
			continue
		}
		text, err := r.encode()
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	if o.rewritten == nil {
		return texts, nil
	}
	text, err := manifest.Encode(o.rewritten)
	return append(texts, text), err
}

// addValues adds the document of values that the object becomes.
func (o *Object) addValues(comments string) error {
	text, err := manifest.Encode(o.chartValues)
	if err != nil {
		return fmt.Errorf("%s: %w", o.title(), err)
	}
	if comments != "" {
		text = comments + "\n" + text
	}
	o.run.result.Values = append(o.run.result.Values, text)
	return nil
}
