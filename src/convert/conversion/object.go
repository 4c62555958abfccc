package conversion

import (
	"context"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
)

// Object is a document of the input while it is converted.
type Object struct {
	// Doc is the document, Root its root.
	Doc  *manifest.Document
	Root manifest.Field
	// Group, Version and Kind are empty if the document has none. So are Namespace and Name.
	Group, Version, Kind, Namespace, Name string
	// Values are those of the chart that all objects of the run set.
	Values *Values
	// Resources are those that the object becomes.
	Resources []*Resource
	// Comments are those of the whole object.
	Comments []string

	run    *Run
	source Source
	// nested are the documents in texts of this one.
	nested []*manifest.Document
	// rewritten is an AzureKeyVaultSecret in the current version, chartValues a document of values.
	rewritten, chartValues *yaml.Node
	// passesThrough keeps the object in the output.
	passesThrough bool
}

func (r *Run) newObject(doc *manifest.Document) *Object {
	root := doc.Root()
	o := &Object{run: r, Doc: doc, Root: root, Values: r.values}
	if root.IsMapping() {
		group, version, hasGroup := strings.Cut(root.Get("apiVersion").Text(), "/")
		if !hasGroup {
			group, version = "", group
		}
		o.Group, o.Version, o.Kind = group, version, root.Get("kind").Text()
		o.Namespace, o.Name = PeekText(root, "metadata", "namespace"), PeekText(root, "metadata", "name")
	}
	for _, s := range r.sources {
		if s.Matches(o) {
			o.source = s
			break
		}
	}
	return o
}

// PeekText returns the text at a path of keys, or an empty text if there is none. It marks no field as read, and a
// field of another type is not reported.
func PeekText(f manifest.Field, keys ...string) string {
	for _, key := range keys {
		if !f.IsMapping() {
			return ""
		}
		f = f.Get(key)
	}
	return f.Peek()
}

// title names the object in findings.
func (o *Object) title() string {
	name := o.Name
	if o.Namespace != "" {
		name = o.Namespace + "/" + name
	}
	switch {
	case o.Kind == "":
		return fmt.Sprintf("document %d", o.Doc.Number)
	case name == "":
		return o.Kind
	}
	return o.Kind + " " + name
}

// Report adds a finding about a field, and marks what is in it as read. It returns the finding as a comment. The field
// can be one of another document.
func (o *Object) Report(kind Kind, f manifest.Field, text string) string {
	doc, line := o.Doc, f.Line()
	if f.Document() != nil {
		doc = f.Document()
	}
	if line == 0 {
		line = doc.Line
	}
	finding := Finding{Kind: kind, File: doc.File, Line: line, Object: o.title(), Path: f.Path(), Text: text}
	f.Discard()
	o.run.result.Findings = append(o.run.result.Findings, finding)
	return finding.comment()
}

// Say reports a finding, with a comment at the head of what the object becomes.
func (o *Object) Say(kind Kind, f manifest.Field, format string, args ...any) {
	o.Comments = append(o.Comments, o.Report(kind, f, fmt.Sprintf(format, args...)))
}

// Keep leaves the object in the output as it is.
func (o *Object) Keep() {
	o.passesThrough = true
	o.Root.Discard()
}

// Stay keeps the object as it is, because a field has no equal without which the rest makes no sense.
func (o *Object) Stay(f manifest.Field, text string) {
	o.Say(LeftOut, f, "%s", text)
	o.Keep()
}

// LeaveOutUnread reports a field if nothing of it was read.
func (o *Object) LeaveOutUnread(f manifest.Field, text string) {
	if f.IsUnread() {
		o.Say(LeftOut, f, "%s", text)
	}
}

// Nested parses a YAML text in a field. It returns nil if the text is not a mapping.
func (o *Object) Nested(f manifest.Field) *manifest.Document {
	doc, err := o.run.reader.Nested(f)
	if err != nil || !doc.Root().IsMapping() {
		return nil
	}
	o.nested = append(o.nested, doc)
	return doc
}

// ReadMetadata reads the metadata that the object passes on, and discards what the API server sets.
func (o *Object) ReadMetadata() (labels, annotations map[string]string) {
	metadata := o.Root.Get("metadata")
	for _, key := range []string{"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink",
		"uid", "ownerReferences", "finalizers"} {
		metadata.Get(key).Discard()
	}
	o.Root.Get("status").Discard()
	metadata.Get("name").Text()
	metadata.Get("namespace").Text()
	labels = metadata.Get("labels").TextMap()
	annotations = metadata.Get("annotations").TextMap()
	delete(annotations, "kubectl.kubernetes.io/last-applied-configuration")
	return labels, annotations
}

// ClaimIdentity reports whether the installation can have an identity, of which the text says all that identifies it.
// If another object of the input needs another one, that is a finding about the field.
func (o *Object) ClaimIdentity(f manifest.Field, identity string) bool {
	if o.Values.identity == "" {
		o.Values.identity = identity
	}
	if o.Values.identity != identity {
		o.Say(LeftOut, f, "an installation has one identity, and another object of the input needs another one; use a "+
			"ServiceAccount for each (identity.serviceAccounts)")
	}
	return o.Values.identity == identity
}

// SetManagedIdentity sets the managed identity of the installation; the id can be empty.
func (o *Object) SetManagedIdentity(f manifest.Field, id string) {
	if !o.ClaimIdentity(f, "managed identity "+id) {
		return
	}
	o.Values.Set("environment", "global", "keyVaultAuth")
	if id != "" {
		o.Values.Set(id, "global", "env", "AZURE_CLIENT_ID")
	}
}

// SetImmutable makes the Secret of the resources immutable, if they can be.
func (o *Object) SetImmutable(immutable manifest.Field) {
	first := o.Resources[0]
	switch {
	case !immutable.Bool():
	case first.Spec.Output.Secret == nil:
		o.Say(LeftOut, immutable, "ConfigMaps of akv2k8s can be changed")
	case len(o.Resources) > 1:
		o.Say(LeftOut, immutable, "several resources share the Secret, so it can't be immutable")
	default:
		first.Secret().Immutable = true
		first.Say(Changed, immutable, "spec.output.secret.immutable", "the Secret is replaced when a value changes in "+
			"the vault")
	}
}

// convert converts the object, reports what was not read, and adds the outcome to the result.
func (o *Object) convert(ctx context.Context) error {
	o.source.Convert(o)
	for _, doc := range append([]*manifest.Document{o.Doc}, o.nested...) {
		for _, problem := range doc.Problems() {
			o.Say(LeftOut, problem.Field, "%s", problem.Text)
		}
		for _, f := range doc.Unread() {
			o.Say(LeftOut, f, "the field is not known here, or has no equal")
		}
	}
	if err := o.checkResources(ctx); err != nil {
		return err
	}
	return o.addOutput()
}
