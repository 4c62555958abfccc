package convert

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/akv2k8s/akv2k8s/src/chartvalues"
	"github.com/akv2k8s/akv2k8s/src/convert/conversion"
	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
)

// v1Values converts values of the charts of akv2k8s 1.x, also below the key of a parent chart.
type v1Values struct{}

// Matches implements conversion.Source.
func (v1Values) Matches(o *conversion.Object) bool {
	return o.Kind == "" && valuesBelow(o.Root).IsMapping()
}

// Collect implements conversion.Source.
func (v1Values) Collect(*conversion.Object) {}

// parentKeys are the keys below which parent charts have the values of this chart.
func parentKeys() []string { return []string{"akv2k8s"} }

// valuesBelow returns the values of the chart in a document: the document itself, or its field akv2k8s. The field is
// missing if the document has none.
func valuesBelow(root manifest.Field) manifest.Field {
	if !root.IsMapping() {
		return manifest.Field{}
	}
	for _, key := range parentKeys() {
		if below := root.Get(key); below.IsMapping() {
			return below
		}
	}
	known := []string{"controller", "env_injector", "addAzurePodIdentityException", "azureKeyVaultResyncPeriod",
		"cloudConfig", "kubeResyncPeriod", "runningInsideAzureAks", "watchAllNamespaces", "vaultRules"}
	for _, f := range root.Fields() {
		if slices.Contains(known, f.Key) {
			return root
		}
	}
	if global := root.Get("global"); global.IsMapping() {
		for _, key := range []string{"keyVaultAuth", "userDefinedMSI"} {
			if global.Get(key).Exists() {
				return root
			}
		}
	}
	return manifest.Field{}
}

// oldValues is the conversion of values.
type oldValues struct {
	*conversion.Object
	values manifest.Field
}

// Convert implements conversion.Source. It copies the values that the chart has. Values of 1.8 keep their meaning, so
// most of them stay.
func (v1Values) Convert(o *conversion.Object) {
	values := valuesBelow(o.Root)
	c := oldValues{o, values}
	c.removeIgnored()
	c.convertImages()
	moved := c.convertWebhookVariables()
	schema := chartvalues.BundledSchema(nil)
	node := copyValues(values, schema, schema["definitions"].(chartvalues.Schema))
	for _, one := range moved {
		setNode(node, one.value, one.keys...)
	}
	if len(node.Content) == 0 {
		node.Style = yaml.FlowStyle
	}
	if values.Path() != o.Root.Path() {
		parent := conversion.NewMapping(o.Root)
		conversion.AddPair(parent, values.Key, node)
		for _, f := range o.Root.Fields() {
			if f.Key != values.Key { // of the parent chart and its other charts
				parent.Content = append(parent.Content, f.KeyNode(), f.Node())
				f.Discard()
			}
		}
		node = parent
	}
	o.SetChartValues(node)
}

// removeIgnored removes the values that the chart accepts without an effect.
func (c oldValues) removeIgnored() {
	for _, path := range []string{"rbac", "runningInsideAzureAks", "kubeResyncPeriod",
		"global.rbac.podSecurityPolicies", "env_injector.dockerImageInspection.useAksCredentialsWithACS"} {
		keys := strings.Split(path, ".")
		parent := c.at(keys[:len(keys)-1]...)
		last := keys[len(keys)-1]
		if parent.IsMapping() && parent.Get(last).Node() != nil {
			c.Say(conversion.Changed, parent.Get(last), "the value has no effect, and is removed")
			parent.Remove(last)
		}
	}
}

// at returns a field of the values; a missing one if a value on the way has no fields.
func (c oldValues) at(keys ...string) manifest.Field {
	f := c.values
	for _, key := range keys {
		if !f.IsMapping() {
			return manifest.Field{}
		}
		f = f.Get(key)
	}
	return f
}

// oldTag matches tags of images of akv2k8s 1.x.
var oldTag = regexp.MustCompile(`^v?1\.`)

// convertImages removes the tags of images of 1.x, which this chart rejects.
func (c oldValues) convertImages() {
	for _, keys := range [][]string{{"controller", "image"}, {"env_injector", "image"}, {"env_injector", "envImage"}} {
		image := c.at(keys...)
		if tag := conversion.PeekText(image, "tag"); oldTag.MatchString(tag) {
			c.Say(conversion.Changed, image.Get("tag"), "the tag is removed: the chart has the version of its images, "+
				"and rejects those of 1.x")
			image.Remove("tag")
		}
	}
}

// movedValue is a value at a new place.
type movedValue struct {
	value *yaml.Node
	keys  []string
}

// webhookVariables are the values that replace variables of the env-injector; empty for those without an effect.
func webhookVariables() map[string]string {
	const container = "env_injector.initContainer."
	all := map[string]string{
		"WEBHOOK_CONTAINER_IMAGE_PULL_POLICY":    "env_injector.envImage.pullPolicy",
		"WEBHOOK_INIT_CONTAINER_REQUESTS_CPU":    container + "resources.requests.cpu",
		"WEBHOOK_INIT_CONTAINER_REQUESTS_MEMORY": container + "resources.requests.memory",
		"WEBHOOK_INIT_CONTAINER_LIMITS_MEMORY":   container + "resources.limits.memory",
	}
	for variable, field := range map[string]string{"USER_UID": "runAsUser", "GROUP_GID": "runAsGroup",
		"READ_ONLY": "readOnlyRootFilesystem"} {
		all["WEBHOOK_CONTAINER_SECURITY_CONTEXT_"+variable] = container + "securityContext." + field
	}
	for _, variable := range []string{"NON_ROOT", "PRIVILEGED", "SECCOMP_RUNTIME_DEFAULT",
		"ALLOW_PRIVILEGE_ESCALATION"} {
		all["WEBHOOK_CONTAINER_SECURITY_CONTEXT_"+variable] = ""
	}
	return all
}

// convertWebhookVariables moves variables of the env-injector that are values now.
func (c oldValues) convertWebhookVariables() []movedValue {
	var all []movedValue
	env := c.at("env_injector", "env")
	for _, f := range env.Fields() {
		place, known := webhookVariables()[f.Key]
		switch {
		case !known:
			continue
		case place == "":
			c.Say(conversion.LeftOut, f, "the init container always passes the restricted Pod Security Standard")
		case f.Peek() == "0" && strings.Contains(place, "runAs"):
			c.Say(conversion.LeftOut, f, "the init container never runs as root")
		default:
			c.Say(conversion.Changed, f, "the value is %s", place)
			all = append(all, movedValue{typedNode(f.Node()), strings.Split(place, ".")})
		}
		env.Remove(f.Key)
	}
	return all
}

// typedNode returns a number or boolean in quotes as what it is.
func typedNode(node *yaml.Node) *yaml.Node {
	plain := *node
	plain.Style, plain.Tag = 0, ""
	if tag := plain.ShortTag(); tag != "!!int" && tag != "!!bool" {
		plain.Tag = "!!str"
	} else {
		plain.Tag = tag
	}
	return &plain
}

// setNode sets a value in a tree of nodes unless it is there.
func setNode(node, value *yaml.Node, keys ...string) {
	for i, key := range keys {
		var next *yaml.Node
		for j := 0; j+1 < len(node.Content); j += 2 {
			if node.Content[j].Value == key {
				next = node.Content[j+1]
			}
		}
		switch {
		case next == nil && i == len(keys)-1:
			conversion.AddPair(node, key, value)
			return
		case next == nil:
			next = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
			conversion.AddPair(node, key, next)
		}
		node = next
	}
}

// copyValues copies the values that a schema has, and marks them as read.
func copyValues(f manifest.Field, schema, definitions chartvalues.Schema) *yaml.Node {
	if reference, ok := schema["$ref"].(string); ok {
		schema, _ = definitions[strings.TrimPrefix(reference, "#/definitions/")].(chartvalues.Schema)
	}
	properties, hasProperties := schema["properties"].(chartvalues.Schema)
	if !f.IsMapping() || !hasProperties || len(f.Fields()) == 0 {
		f.Discard()
		return f.Node()
	}
	to := conversion.NewMapping(f)
	for _, below := range f.Fields() {
		next, known := properties[below.Key].(chartvalues.Schema)
		if !known {
			continue
		}
		if copied := copyValues(below, next, definitions); copied.Kind != yaml.MappingNode || len(copied.Content) > 0 {
			to.Content = append(to.Content, below.KeyNode(), copied)
		}
	}
	return to
}
