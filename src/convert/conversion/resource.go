package conversion

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
)

// The version of the API that a conversion writes.
const (
	ResourceVersion    = "v2beta1"
	ResourceGroup      = "spv.no"
	ResourceKind       = "AzureKeyVaultSecret"
	ResourceAPIVersion = ResourceGroup + "/" + ResourceVersion
)

// Resource is an AzureKeyVaultSecret while it is written. Its fields are in the order of the output.
type Resource struct {
	APIVersion string                          `json:"apiVersion"`
	Kind       string                          `json:"kind"`
	Metadata   Metadata                        `json:"metadata"`
	Spec       v2beta1.AzureKeyVaultSecretSpec `json:"spec"`

	// object is the document from which the resource is made.
	object *Object
	// comments are those at places of the resource, by path.
	comments map[string][]string
	invalid  bool
}

// Metadata is that of a Resource.
type Metadata struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// AddResource adds a resource in the namespace of the object. If another object of the run has the name, the name gets
// a number.
func (o *Object) AddResource(name string) *Resource {
	base := name
	for i := 2; o.run.names[o.Namespace+"/"+name]; i++ {
		name = NameWithSuffix(base, fmt.Sprintf("-%d", i))
	}
	o.run.names[o.Namespace+"/"+name] = true
	r := &Resource{APIVersion: ResourceAPIVersion, Kind: ResourceKind,
		Metadata: Metadata{Name: name, Namespace: o.Namespace}, object: o, comments: map[string][]string{}}
	o.Resources = append(o.Resources, r)
	return r
}

// Say reports a finding about a field of the input, with a comment at a place of the resource.
func (r *Resource) Say(kind Kind, f manifest.Field, place, text string) {
	r.comments[place] = append(r.comments[place], r.object.Report(kind, f, text))
}

// LeaveOut reports that an item of the input is left out as a whole, because of a field in it. The text says what the
// output lacks.
func (r *Resource) LeaveOut(item, because manifest.Field, place, text string) {
	if because.Key != "" && because.Path() != item.Path() {
		text = because.Key + ": " + text
	}
	r.Say(LeftOut, item, place, text)
}

// Comment adds a comment at a place of the resource.
func (r *Resource) Comment(place, text string) { r.comments[place] = append(r.comments[place], text) }

// TakeComments removes all comments of places, and returns them.
func (r *Resource) TakeComments() []string {
	var all []string
	for _, place := range SortedKeys(r.comments) {
		all = append(all, r.comments[place]...)
	}
	r.comments = map[string][]string{}
	return all
}

// InNamespace returns the resource in another namespace.
func (r *Resource) InNamespace(namespace string) *Resource {
	other := *r
	other.Metadata.Namespace = namespace
	return &other
}

// NextData is the place of the next item of spec.data.
func (r *Resource) NextData() string { return Indexed("spec.data", len(r.Spec.Data)) }

// LastData is the place of the last item of spec.data.
func (r *Resource) LastData() string { return Indexed("spec.data", len(r.Spec.Data)-1) }

// Secret returns the Secret of the output, which it adds if it is missing.
func (r *Resource) Secret() *v2beta1.AzureKeyVaultOutputSecret {
	if r.Spec.Output == nil {
		r.Spec.Output = &v2beta1.AzureKeyVaultOutput{}
	}
	if r.Spec.Output.Secret == nil {
		r.Spec.Output.Secret = &v2beta1.AzureKeyVaultOutputSecret{}
	}
	return r.Spec.Output.Secret
}

// Collapse writes one object as spec.vault.object, which is shorter than spec.data.
func (r *Resource) Collapse() {
	if len(r.Spec.Data) != 1 || len(r.Spec.DataFrom) > 0 {
		return
	}
	one := r.Spec.Data[0]
	if !r.canCollapse(one) {
		return
	}
	r.Spec.Vault.Object, r.Spec.Data = one.Object, nil
	for _, place := range []string{"spec.data[0]", "spec.data[1]"} {
		r.comments["spec.vault.object"] = append(r.comments["spec.vault.object"], r.comments[place]...)
		delete(r.comments, place)
	}
	if r.Spec.Output == nil {
		return
	}
	r.Spec.Output.Transform = one.Transform
	if secret := r.Spec.Output.Secret; secret != nil {
		secret.DataKey = one.DataKey
	}
	if configMap := r.Spec.Output.ConfigMap; configMap != nil {
		configMap.DataKey = one.DataKey
	}
}

// fixedDataKeys are the data keys that the type of a Secret sets for one object. Those of other types in the list come
// from the value itself.
func fixedDataKeys() map[string]string {
	return map[string]string{
		"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg",
		"kubernetes.io/ssh-auth": "ssh-privatekey", "kubernetes.io/basic-auth": "", TypeTLS: ""}
}

// canCollapse reports whether the item means the same as spec.vault.object. The type of a Secret can split one object,
// or set its data key.
func (r *Resource) canCollapse(one v2beta1.AzureKeyVaultData) bool {
	if one.DataKey == "" || r.Spec.Output == nil || r.Spec.Output.Secret == nil {
		return true
	}
	key, isFixed := fixedDataKeys()[r.Spec.Output.Secret.Type]
	return !isFixed || key == one.DataKey
}

// node returns the resource as YAML nodes, in the order of its fields.
func (r *Resource) node() (*yaml.Node, error) {
	content, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		return nil, err
	}
	useBlockStyle(document.Content[0])
	return document.Content[0], nil
}

// useBlockStyle removes the flow style of JSON from a tree.
func useBlockStyle(node *yaml.Node) {
	node.Style = 0
	for _, below := range node.Content {
		useBlockStyle(below)
	}
}

// decoded returns the resource as decoded JSON.
func (r *Resource) decoded() (map[string]any, error) {
	content, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var all map[string]any
	err = utiljson.Unmarshal(content, &all) // with whole numbers as int64, as the API server decodes them
	return all, err
}

// encode returns the resource as YAML with its comments.
func (r *Resource) encode() (string, error) {
	root, err := r.node()
	if err != nil {
		return "", err
	}
	var atHead []string
	for _, place := range slices.Sorted(maps.Keys(r.comments)) {
		if node := findNode(root, place); node != nil {
			node.HeadComment = commentLines(r.comments[place])
		} else {
			atHead = append(atHead, r.comments[place]...)
		}
	}
	text, err := manifest.Encode(root)
	if head := commentLines(atHead); head != "" {
		text = head + "\n" + text
	}
	return text, err
}

// placeStep matches one step of a place: a key, or a number in brackets.
var placeStep = regexp.MustCompile(`[^.\[\]]+`)

// findNode returns the node that carries the comment of a place: the key of a field, or an item of a list. It is nil if
// the place does not exist.
func findNode(root *yaml.Node, place string) *yaml.Node {
	node, carrier := root, (*yaml.Node)(nil)
	for _, step := range placeStep.FindAllString(place, -1) {
		next := (*yaml.Node)(nil)
		switch node.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(node.Content); i += 2 {
				if node.Content[i].Value == step {
					carrier, next = node.Content[i], node.Content[i+1]
				}
			}
		case yaml.SequenceNode:
			if i, err := strconv.Atoi(step); err == nil && i < len(node.Content) {
				carrier, next = node.Content[i], node.Content[i]
			}
		}
		if next == nil {
			return nil
		}
		node = next
	}
	return carrier
}
