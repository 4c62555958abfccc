package convert

import (
	"go.yaml.in/yaml/v3"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"

	"github.com/akv2k8s/akv2k8s/src/convert/conversion"
	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
)

// v1Resources converts AzureKeyVaultSecrets of every version of akv2k8s.
type v1Resources struct{}

// Matches implements conversion.Source.
func (v1Resources) Matches(o *conversion.Object) bool { return o.Group == conversion.ResourceGroup }

// Collect implements conversion.Source.
func (v1Resources) Collect(*conversion.Object) {}

// Convert implements conversion.Source.
func (v1Resources) Convert(o *conversion.Object) {
	if o.Kind != conversion.ResourceKind {
		o.Stay(o.Root, "akv2k8s has no such kind; the object stays as it is")
		return
	}
	convertV1Resource(o)
}

// convertV1Resource writes the spec in the current version. The fields keep their places and comments.
func convertV1Resource(o *conversion.Object) {
	o.ReadMetadata()
	spec := o.Root.Get("spec")
	identity := spec.Get("vault", "azureIdentity", "name")
	if o.Version != conversion.ResourceVersion && identity.Exists() {
		o.Say(conversion.Changed, identity, "1.8 ignores it; now it is a ServiceAccount that reads the vault, if "+
			"identity.serviceAccounts allows it")
	}
	output := spec.Get("output")
	if transforms := output.Get("transforms"); transforms.Exists() && !output.Get("transform").Exists() {
		o.Say(conversion.Changed, transforms, "the field is named transform")
		output.Rename("transforms", "transform")
	}
	to := conversion.NewMapping(o.Root)
	fields := o.ResourceFields()
	conversion.AddPair(to, "apiVersion", conversion.TextNode(conversion.ResourceAPIVersion))
	conversion.AddPair(to, "kind", conversion.TextNode(conversion.ResourceKind))
	conversion.AddPair(to, "metadata", cleanMetadata(o.Root.Get("metadata")))
	if copied := copyStructural(spec, fields.Properties["spec"]); copied != nil {
		conversion.AddPair(to, "spec", copied)
	}
	o.Rewrite(to)
}

// cleanMetadata returns metadata without what the API server sets.
func cleanMetadata(metadata manifest.Field) *yaml.Node {
	to := conversion.NewMapping(metadata)
	for _, f := range metadata.Fields() {
		switch f.Key {
		case "name", "namespace", "labels":
			conversion.AddPair(to, f.Key, f.Node())
		case "annotations":
			f.Remove("kubectl.kubernetes.io/last-applied-configuration")
			if len(f.Fields()) > 0 {
				conversion.AddPair(to, f.Key, f.Node())
			}
		}
	}
	return to
}

// copyStructural copies the fields that the schema has, and marks them as read. It returns nil if there are none.
func copyStructural(f manifest.Field, fields structuralschema.Structural) *yaml.Node {
	switch {
	case f.IsMapping() && len(fields.Properties) > 0:
		to := conversion.NewMapping(f)
		for _, below := range f.Fields() {
			if next, known := fields.Properties[below.Key]; known && below.Exists() {
				to.Content = append(to.Content, below.KeyNode(), copyStructural(below, next))
			}
		}
		return to
	case f.IsList() && fields.Items != nil:
		to := *f.Node()
		to.Content = nil
		for _, item := range f.Items() {
			to.Content = append(to.Content, copyStructural(item, *fields.Items))
		}
		return &to
	}
	f.Discard()
	return f.Node()
}
