package eso

import (
	"regexp"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/convert/conversion"
	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
)

// contentTypeJSON is the format of a multi-key-value-secret that is JSON.
const contentTypeJSON = "application/x-json"

// propertyItem is an item of spec.data that selects one property of a JSON object.
type propertyItem struct {
	resource *conversion.Resource
	item     manifest.Field
	data     v2beta1.AzureKeyVaultData
	property string
}

// plainProperty matches properties that are keys, and no paths of gjson.
var plainProperty = regexp.MustCompile(`^[-_a-zA-Z0-9]+$`)

// keepsItsName reports whether the value of a property gets the property's name, as in a multi-key-value-secret.
func (p propertyItem) keepsItsName() bool {
	return p.property == p.data.DataKey && plainProperty.MatchString(p.property) && len(p.data.Transform) == 0 &&
		p.data.Object.Type == v2beta1.ObjectTypeSecret
}

// convertProperties converts the items that select a property. If all properties of an object keep their names, the
// output gets the whole object.
func (e *externalSecret) convertProperties() {
	type group struct {
		resource *conversion.Resource
		object   v2beta1.AzureKeyVaultObject
	}
	keep := map[group]bool{}
	for _, p := range e.properties {
		g := group{p.resource, p.data.Object}
		known, seen := keep[g]
		keep[g] = p.keepsItsName() && (known || !seen)
	}
	added := map[group]bool{}
	for _, p := range e.properties {
		g := group{p.resource, p.data.Object}
		if !keep[g] {
			p.resource.LeaveOut(p.item, p.item.Get("remoteRef", "property"), p.resource.NextData(),
				"an output has whole values, not a property of one; store it as a secret of its own"+
					conversion.Dropped(p.data.DataKey))
			continue
		}
		object := p.data.Object
		object.Type, object.ContentType = v2beta1.ObjectTypeMultiKeyValueSecret, contentTypeJSON
		place := p.resource.NextData()
		if !added[g] {
			added[g] = true
			p.resource.Spec.Data = append(p.resource.Spec.Data, v2beta1.AzureKeyVaultData{Object: object})
		} else {
			place = p.resource.LastData()
		}
		p.resource.Say(conversion.LeftOut, p.item.Get("remoteRef", "property"), place,
			"the output has every entry of the JSON object, not only this one")
	}
}

// convertDataFrom converts one entry of spec.dataFrom.
func (e *externalSecret) convertDataFrom(entry manifest.Field) {
	source := entry.Get("sourceRef")
	r, reason := e.resourceOf(source)
	switch {
	case reason != "":
		e.Say(conversion.LeftOut, entry, "%s", reason)
	case entry.Get("find").Exists():
		e.convertFind(r, entry)
	case entry.Get("extract").Exists():
		e.convertExtract(r, entry)
	default:
		e.Say(conversion.LeftOut, entry, "it has neither extract nor find")
	}
}

func (e *externalSecret) convertExtract(r *conversion.Resource, entry manifest.Field) {
	extract, rewrite := entry.Get("extract"), entry.Get("rewrite")
	remote, at, reason := readRemoteRef(extract)
	strategy := extract.Get("conversionStrategy")
	switch {
	case reason != "":
	case remote.object.Type != v2beta1.ObjectTypeSecret:
		at, reason = extract.Get("key"), "only a secret can be a JSON object"
	case remote.property != "":
		at, reason = extract.Get("property"), "an output has every entry of the object, not of a part of it"
	case strategy.Text() != "" && strategy.Text() != "Default":
		at, reason = strategy, "akv2k8s does not rename entries"
	case len(rewrite.Items()) > 0:
		at, reason = rewrite, "akv2k8s does not rename the entries of an object"
	}
	if reason != "" {
		r.LeaveOut(entry, at, r.NextData(), reason+"; the output has no entry of the object")
		return
	}
	object := remote.object
	object.Type, object.ContentType = v2beta1.ObjectTypeMultiKeyValueSecret, contentTypeJSON
	text := "an entry whose name is not a valid data key is an error, and nested values become compact JSON"
	if len(r.Spec.Data) > 0 {
		text += "; no other item may give a key that is an entry of the object"
	}
	r.Say(conversion.Changed, extract.Get("key"), r.NextData(), text)
	r.Spec.Data = append(r.Spec.Data, v2beta1.AzureKeyVaultData{Object: object, Transform: remote.transform})
}

// findPlace is the place of the next item of spec.dataFrom.
func findPlace(r *conversion.Resource) string {
	return conversion.Indexed("spec.dataFrom", len(r.Spec.DataFrom))
}

func (e *externalSecret) convertFind(r *conversion.Resource, entry manifest.Field) {
	find := entry.Get("find")
	find.Fields()                            // an empty one finds all secrets
	find.Get("path").Discard()               // Azure has no paths
	find.Get("conversionStrategy").Discard() // names in Key Vault are valid keys
	one := v2beta1.AzureKeyVaultDataFrom{Match: matchOf(find.Get("name", "regexp").Text())}
	one.Match.Tags = find.Get("tags").TextMap()
	if one.Match.Prefix == "" && one.Match.Regexp == "" && len(one.Match.Tags) == 0 {
		one.Match.Regexp = ".*"
	}
	at, reason := manifest.Field{}, ""
	switch decoding := find.Get("decodingStrategy"); decoding.Text() {
	case "", "None":
	case "Base64":
		one.Transform = []v2beta1.Transform{"base64decode"}
	default:
		at, reason = decoding, "akv2k8s decodes base64 with the standard alphabet only (Base64)"
	}
	steps := entry.Get("rewrite").Items()
	switch {
	case reason != "" || len(steps) == 0:
	case len(steps) > 1:
		at, reason = entry.Get("rewrite"), "akv2k8s rewrites a name in one step"
	case !steps[0].Get("regexp").Exists():
		at, reason = steps[0], "akv2k8s rewrites names with a regexp only"
	default:
		rewrite := steps[0].Get("regexp")
		one.Rewrite = &v2beta1.AzureKeyVaultRewrite{Source: rewrite.Get("source").Text(),
			Target: rewrite.Get("target").Text()}
	}
	if reason != "" {
		r.LeaveOut(entry, at, findPlace(r), reason+"; the output has none of the secrets that are found")
		return
	}
	r.Comment(findPlace(r), e.Report(conversion.Changed, find.Get("name"), "secrets of "+
		"certificates are not found; name them in spec.data"))
	r.Spec.DataFrom = append(r.Spec.DataFrom, one)
}

// literalPrefix matches expressions that only match a prefix.
var literalPrefix = regexp.MustCompile(`^\^([a-zA-Z0-9-]+)$`)

// matchOf returns the match of an expression, as a prefix if it is one, which costs less.
func matchOf(expression string) v2beta1.AzureKeyVaultMatch {
	if match := literalPrefix.FindStringSubmatch(expression); match != nil {
		return v2beta1.AzureKeyVaultMatch{Prefix: match[1]}
	}
	return v2beta1.AzureKeyVaultMatch{Regexp: expression}
}

// convertTarget converts the target but its template.
func (e *externalSecret) convertTarget(isTLS bool) {
	target := e.spec.Get("target")
	name := target.Get("name").Text()
	if name == "" {
		name = e.baseName
	}
	creation := target.Get("creationPolicy")
	first := e.Resources[0]
	if creation.Text() == "None" {
		for _, r := range e.Resources {
			r.Spec.Output = nil
		}
		first.Say(conversion.Note, creation, "spec",
			"no Secret is written; pods refer to "+first.Metadata.Name+"@azurekeyvault")
		for _, key := range []string{"deletionPolicy", "immutable", "template", "manifest"} {
			target.Get(key).Discard() // without a Secret they mean nothing
		}
		return
	}
	for _, r := range e.Resources {
		e.setOutput(r, name, target)
	}
	e.convertPolicies(first, target, name)
	e.SetImmutable(target.Get("immutable"))
	if isTLS {
		first.Secret().ChainOrder = "ensureserverfirst"
	}
}

// setOutput sets the output of a resource.
func (e *externalSecret) setOutput(r *conversion.Resource, name string, target manifest.Field) {
	format := v2beta1.KeyFormat("")
	if e.hasJWK {
		format = "jwk"
	}
	if kind := target.Get("manifest"); kind.Exists() {
		kind.Get("apiVersion").Text()
		if secret := r.Secret(); secret.Type != "" || secret.Metadata != nil {
			e.Say(conversion.LeftOut, target.Get("template"),
				"a ConfigMap has no type, and the labels and annotations of the resource")
		}
		r.Spec.Output = &v2beta1.AzureKeyVaultOutput{
			ConfigMap: &v2beta1.AzureKeyVaultOutputConfigMap{Name: name, KeyFormat: format}}
		return
	}
	r.Secret().Name, r.Secret().KeyFormat = name, format
}

func (e *externalSecret) convertPolicies(first *conversion.Resource, target manifest.Field, name string) {
	creation, deletion := target.Get("creationPolicy"), target.Get("deletionPolicy")
	const place = "spec.output"
	switch creation.Text() {
	case "", "Owner":
	case "Merge":
		first.Say(conversion.Changed, creation, place,
			"let akv2k8s add keys to the Secret: kubectl annotate secret "+name+
				" akv2k8s.io/adopt=true (or the keys that it may overwrite)")
	case "Orphan":
		first.Say(conversion.LeftOut, creation, place, "the Secret is deleted with the resource; see "+
			"docs/migration/external-secrets.md to keep it")
	default:
		first.Say(conversion.LeftOut, creation, place, "the policy is not known")
	}
	if policy := deletion.Text(); policy != "" && policy != "Retain" {
		first.Say(conversion.LeftOut, deletion, place, "akv2k8s never deletes or empties an output because the object "+
			"of the vault is gone")
	}
	if strings.TrimSpace(name) == "" {
		e.Say(conversion.LeftOut, target, "the output has no name")
	}
}
