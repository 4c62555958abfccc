package convert

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/convert/conversion"
	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Annotations of the Argo CD vault plugin.
const (
	annotationPath          = "avp.kubernetes.io/path"
	annotationIgnore        = "avp.kubernetes.io/ignore"
	annotationRemoveMissing = "avp.kubernetes.io/remove-missing"
	annotationVersion       = "avp.kubernetes.io/secret-version"
	annotationPrefix        = "avp.kubernetes.io/"
)

// Placeholders: those with their path, and those of an object with the annotation of a path.
var (
	pathPlaceholder    = regexp.MustCompile(`<path:[^#<>]+#[^<>]+>`)
	genericPlaceholder = regexp.MustCompile(`<[^<>\n]+>`)
	vaultName          = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]$`)
)

// argoPlaceholders converts placeholders of the Argo CD vault plugin with the backend azurekeyvault:
// `<path:VAULT#SECRET#VERSION>`, and `<SECRET>` in an object whose annotation names the vault.
type argoPlaceholders struct {
	workloads *workloads
	// references are the names of the resources that pods refer to.
	references map[reference]string
}

// Matches implements conversion.Source.
func (s *argoPlaceholders) Matches(o *conversion.Object) bool {
	return o.Kind != "" && !isIgnored(o.Root) && (hasPlaceholder(o.Root) || annotation(o.Root, annotationPath) != "")
}

// Collect implements conversion.Source.
func (s *argoPlaceholders) Collect(o *conversion.Object) { s.workloads.collect(o) }

// Convert implements conversion.Source.
func (s *argoPlaceholders) Convert(o *conversion.Object) {
	p := &placeholders{Object: o, source: s, path: annotation(o.Root, annotationPath)}
	p.convert()
}

func annotation(root manifest.Field, name string) string {
	return conversion.PeekText(root, "metadata", "annotations", name)
}

func isIgnored(root manifest.Field) bool { return annotation(root, annotationIgnore) == "true" }

// hasPlaceholder reports whether a text of the document has a placeholder with a path, also in base64.
func hasPlaceholder(root manifest.Field) bool {
	found := false
	root.VisitTexts(func(f manifest.Field) {
		text := f.Peek()
		found = found || pathPlaceholder.MatchString(text) || pathPlaceholder.MatchString(decodeText(text))
	})
	return found
}

// decodeText returns the text that a base64 text holds; empty if it is none.
func decodeText(text string) string {
	if len(text) > limits.ConvertTemplateBytes {
		return ""
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return ""
	}
	return string(decoded)
}

// placeholder is a reference of the plugin to a secret.
type placeholder struct {
	vault, secret, version string
	transform              []v2beta1.Transform
	// reason says why it can't be converted; empty if it can.
	reason string
}

// reference is a secret that pods of a namespace refer to.
type reference struct{ namespace, vault, secret, version string }

// placeholders is the conversion of one object.
type placeholders struct {
	*conversion.Object
	source *argoPlaceholders
	// path is the vault of placeholders without one.
	path string
}

func (p *placeholders) convert() {
	if annotation(p.Root, annotationVersion) != "" {
		p.Say(conversion.LeftOut, p.Root.Get("metadata", "annotations", annotationVersion), "the plugin ignores it "+
			"with Azure; write the version into the placeholder")
	}
	if f := p.Root.Get("metadata", "annotations", annotationRemoveMissing); f.Exists() {
		p.Say(conversion.LeftOut, f, "a secret that does not exist in the vault is an error; remove its item")
	}
	switch {
	case p.Group == "" && (p.Kind == "Secret" || p.Kind == "ConfigMap"):
		p.convertData()
	default:
		p.convertVariables()
	}
}

// find returns the placeholders in a text.
func (p *placeholders) find(text string) []string {
	switch {
	case len(text) > limits.ConvertTemplateBytes:
		return pathPlaceholder.FindAllString(text, 2)
	case p.path != "":
		return genericPlaceholder.FindAllString(text, -1)
	}
	return pathPlaceholder.FindAllString(text, -1)
}

// parse parses a text that is one placeholder as a whole.
func (p *placeholders) parse(text string) placeholder {
	found := p.find(text)
	if len(found) != 1 || found[0] != strings.TrimSpace(text) {
		return placeholder{reason: "an output has whole values, and no text around them; store the whole text in the " +
			"vault, or compose it in the program"}
	}
	steps := strings.Split(strings.Trim(found[0], "<>"), "|")
	one := placeholder{vault: p.path, secret: strings.TrimSpace(steps[0])}
	if path, ok := strings.CutPrefix(one.secret, "path:"); ok {
		parts := strings.Split(path, "#")
		one.vault, one.secret = strings.TrimSpace(parts[0]), strings.TrimSpace(parts[1])
		if len(parts) > 2 {
			one.version = strings.TrimSpace(parts[2])
		}
	}
	if !vaultName.MatchString(one.vault) {
		one.reason = "its path is not the name of an Azure Key Vault; akv2k8s reads Azure Key Vault only"
	}
	for _, step := range steps[1:] {
		fields := strings.Fields(step)
		switch {
		case len(fields) == 1 && (fields[0] == "base64encode" || fields[0] == "base64decode"):
			one.transform = append(one.transform, v2beta1.Transform(fields[0]))
		default:
			one.reason = "akv2k8s has no such modifier; only base64encode and base64decode have an equal"
		}
	}
	return one
}

// convertData converts a Secret or ConfigMap.
func (p *placeholders) convertData() {
	byVault := map[string]*conversion.Resource{}
	isSecret := p.Kind == "Secret"
	for _, section := range []string{"data", "stringData"} {
		for _, f := range p.Root.Get(section).Fields() {
			if !f.IsText() {
				continue
			}
			text, isEncoded := f.Peek(), isSecret && section == "data"
			if decoded := decodeText(text); isEncoded && len(p.find(decoded)) > 0 {
				text, isEncoded = decoded, false // the plugin encodes the value again
			}
			if len(p.find(text)) > 0 {
				p.convertEntry(f, text, isEncoded, byVault)
			}
		}
	}
	p.splitObject(byVault)
}

// convertEntry converts one entry of data. The value of an encoded entry is base64.
func (p *placeholders) convertEntry(f manifest.Field, text string, isEncoded bool,
	byVault map[string]*conversion.Resource) {
	one := p.parse(text)
	if one.reason != "" {
		p.Say(conversion.LeftOut, f, "%s", one.reason)
		return
	}
	if isEncoded {
		one.transform = append(one.transform, "base64decode")
	}
	if n := len(one.transform); n > 1 && one.transform[n-2] == "base64encode" && one.transform[n-1] == "base64decode" {
		one.transform = one.transform[:n-2]
	}
	f.Discard()
	r := byVault[one.vault]
	if r == nil {
		r = p.newResource(one.vault, len(byVault))
		byVault[one.vault] = r
	}
	at := slices.IndexFunc(r.Spec.Data, func(d v2beta1.AzureKeyVaultData) bool { return d.DataKey == f.Key })
	data := v2beta1.AzureKeyVaultData{DataKey: f.Key, Transform: one.transform, Object: v2beta1.AzureKeyVaultObject{
		Name: one.secret, Type: v2beta1.ObjectTypeSecret, Version: one.version}}
	if at >= 0 { // stringData takes precedence over data
		r.Spec.Data[at] = data
		return
	}
	r.Spec.Data = append(r.Spec.Data, data)
}

// newResource adds a resource that writes the object.
func (p *placeholders) newResource(vault string, others int) *conversion.Resource {
	name := p.Name
	if others > 0 {
		name = conversion.NameWithSuffix(name, "-"+conversion.ToName(vault))
	}
	r := p.AddResource(name)
	r.Spec.Vault.Name = vault
	if p.Kind == "ConfigMap" {
		r.Spec.Output = &v2beta1.AzureKeyVaultOutput{ConfigMap: &v2beta1.AzureKeyVaultOutputConfigMap{Name: p.Name}}
		return r
	}
	r.Secret().Name = p.Name
	if kind := p.Root.Get("type").Text(); kind != conversion.TypeOpaque {
		r.Secret().Type = kind
	}
	return r
}

// splitObject keeps the entries of the object that have no placeholder, and the object itself if there are any.
func (p *placeholders) splitObject(byVault map[string]*conversion.Resource) {
	if len(byVault) == 0 {
		p.Keep()
		return
	}
	keys := map[string]bool{}
	for _, vault := range conversion.SortedKeys(byVault) {
		for _, item := range byVault[vault].Spec.Data {
			keys[item.DataKey] = true
		}
	}
	rest := 0
	for _, section := range []string{"data", "stringData", "binaryData"} {
		f := p.Root.Get(section)
		for key := range keys {
			f.Remove(key)
		}
		rest += len(f.Fields())
	}
	if rest == 0 {
		p.finishResources()
		return
	}
	metadata := p.Root.Get("metadata")
	if annotations := metadata.Get("annotations"); annotations.IsMapping() {
		for _, f := range annotations.Fields() {
			if strings.HasPrefix(f.Key, annotationPrefix) && f.Key != annotationPath {
				annotations.Remove(f.Key)
			}
		}
	}
	metadata.PutBelow("annotations", "akv2k8s.io/adopt", "true")
	p.Say(conversion.Changed, manifest.Field{}, "the %s keeps its other entries, and lets akv2k8s add the keys of the "+
		"vault (akv2k8s.io/adopt)", p.Kind)
	for _, r := range p.Resources {
		r.Collapse()
	}
	p.Keep()
}

// finishResources gives the resources the metadata of the object, which they replace.
func (p *placeholders) finishResources() {
	labels, annotations := p.ReadMetadata()
	for key := range annotations {
		if strings.HasPrefix(key, annotationPrefix) {
			delete(annotations, key)
		}
	}
	for _, r := range p.Resources {
		r.Metadata.Labels, r.Metadata.Annotations = labels, annotations
	}
	p.Root.Get("type").Text()
	p.SetImmutable(p.Root.Get("immutable"))
	for _, r := range p.Resources {
		r.Collapse()
	}
}

// convertVariables turns placeholders in the variables of containers into references. Other placeholders have no equal.
func (p *placeholders) convertVariables() {
	spec := podSpec(p.Root)
	variables := map[string]bool{}
	for _, list := range []string{"containers", "initContainers"} {
		for _, container := range spec.Get(list).Items() {
			for _, variable := range container.Get("env").Items() {
				if value := variable.Get("value"); len(p.find(value.Peek())) > 0 {
					variables[value.Path()] = true
					p.convertVariable(value)
				}
			}
		}
	}
	p.Root.VisitTexts(func(f manifest.Field) {
		if !variables[f.Path()] && !strings.Contains(f.Path(), annotationPrefix) && len(p.find(f.Peek())) > 0 {
			p.Say(conversion.LeftOut, f, "akv2k8s has values in Secrets, ConfigMaps and environment variables only")
		}
	})
	p.Keep()
	reportMounts(p.Object)
}

// convertVariable replaces a placeholder by a reference.
func (p *placeholders) convertVariable(value manifest.Field) {
	one := p.parse(value.Peek())
	if one.reason == "" && len(one.transform) > 0 {
		one.reason = "a reference has no modifiers; give the resource an output, and the variable a secretKeyRef"
	}
	if one.reason != "" {
		p.Say(conversion.LeftOut, value, "%s", one.reason)
		return
	}
	ref := reference{p.Namespace, one.vault, one.secret, one.version}
	name, known := p.source.references[ref]
	if !known {
		r := p.AddResource(conversion.ToName(ref.secret))
		name = r.Metadata.Name
		p.source.references[ref] = name
		r.Spec.Vault = v2beta1.AzureKeyVault{Name: one.vault, Object: v2beta1.AzureKeyVaultObject{Name: one.secret,
			Type: v2beta1.ObjectTypeSecret, Version: one.version}}
	}
	p.Say(conversion.Changed, value, "the variable is a reference; the namespace needs the label "+
		"azure-key-vault-env-injection=enabled")
	value.SetText(name + "@azurekeyvault")
}
