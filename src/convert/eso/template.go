package eso

import (
	"regexp"
	"slices"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/convert/conversion"
	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// templateValue matches templates that only insert one value, and names it.
var templateValue = regexp.MustCompile(
	`^\{\{-?\s*(?:\.([A-Za-z_][A-Za-z0-9_]*)|index\s+\.\s+"([^"]+)")\s*(?:\|\s*toString\s*)?-?\}\}$`)

// templateTLS matches templates that take a certificate or its key from a value, and names value and function.
var templateTLS = regexp.MustCompile(`^\{\{-?\s*(?:\.([A-Za-z_][A-Za-z0-9_]*)|index\s+\.\s+"([^"]+)")\s*` +
	`(?:\|\s*b64dec\s*)?\|\s*(pkcs12cert|pkcs12key|filterPEM\s+"CERTIFICATE"|filterPEM\s+"PRIVATE KEY")\s*-?\}\}\s*$`)

// valueOf returns the name of the value that a template inserts, and the function that it applies.
func valueOf(expression *regexp.Regexp, template string) (name, function string) {
	if len(template) > limits.ConvertTemplateBytes {
		return "", ""
	}
	match := expression.FindStringSubmatch(template)
	if match == nil {
		return "", ""
	}
	name = match[1] + match[2]
	if len(match) > 3 {
		function = match[3]
	}
	return name, function
}

// tlsValue returns the secretKey of the value that a template splits into tls.crt and tls.key; empty if it does not.
func tlsValue(template manifest.Field) string {
	data := template.Get("data")
	isTLS := conversion.PeekText(template, "type") == conversion.TypeTLS
	if !isTLS || !data.IsMapping() || len(data.Fields()) != 2 || template.Get("templateFrom").Exists() {
		return ""
	}
	certificate, fromCertificate := valueOf(templateTLS, conversion.PeekText(data, "tls.crt"))
	key, fromKey := valueOf(templateTLS, conversion.PeekText(data, "tls.key"))
	isPair := slices.Contains([]string{"pkcs12cert", `filterPEM "CERTIFICATE"`}, fromCertificate) &&
		slices.Contains([]string{"pkcs12key", `filterPEM "PRIVATE KEY"`}, fromKey)
	if !isPair || certificate != key {
		return ""
	}
	return certificate
}

// convertTLSTemplate converts a template that splits a PFX or PEM into tls.crt and tls.key, which akv2k8s does for a
// Secret of type kubernetes.io/tls without a template. It reports whether it did.
func (e *externalSecret) convertTLSTemplate(template manifest.Field) bool {
	items, value := e.spec.Get("data").Items(), tlsValue(template)
	if value == "" || len(items) != 1 || len(e.spec.Get("dataFrom").Items()) > 0 ||
		value != conversion.PeekText(items[0], "secretKey") {
		return false
	}
	remote, _, reason := readRemoteRef(items[0].Get("remoteRef"))
	r, noStore := e.resourceOf(items[0].Get("sourceRef"))
	isSecret := remote.object.Type == v2beta1.ObjectTypeSecret && remote.property == "" && len(remote.transform) == 0
	if reason != "" || noStore != "" || !isSecret {
		return false
	}
	items[0].Get("secretKey").Text()
	items[0].Get("remoteRef", "conversionStrategy").Discard()
	r.Spec.Data = append(r.Spec.Data, v2beta1.AzureKeyVaultData{Object: remote.object})
	e.convertTemplateHead(template)
	template.Get("engineVersion").Discard()
	template.Get("mergePolicy").Discard()
	r.Say(conversion.Changed, template.Get("data"), "spec.output.secret.type",
		"akv2k8s splits the value without a template; the key can be PKCS#1 instead of PKCS#8")
	return true
}

// convertTemplateHead converts type and metadata of a template.
func (e *externalSecret) convertTemplateHead(template manifest.Field) {
	kind := template.Get("type").Text()
	metadata := template.Get("metadata")
	labels, annotations := metadata.Get("labels").TextMap(), metadata.Get("annotations").TextMap()
	for _, r := range e.Resources {
		if kind != "" && kind != conversion.TypeOpaque {
			r.Secret().Type = kind
		}
		if len(labels)+len(annotations) > 0 {
			r.Secret().Metadata = &v2beta1.AzureKeyVaultOutputMetadata{Labels: labels, Annotations: annotations}
		}
	}
	if len(e.labels)+len(e.annotations) > 0 && template.Exists() {
		e.Say(conversion.Changed, e.Root.Get("metadata"),
			"the output has the labels and annotations of the resource, too")
	}
}

// convertTemplate converts the template of the target. Templates that insert one value are data keys; others have no
// equal.
func (e *externalSecret) convertTemplate(template manifest.Field) {
	if !template.Exists() || len(e.Resources) == 0 {
		return
	}
	e.convertTemplateHead(template)
	data, merges := template.Get("data"), template.Get("mergePolicy").Text() == "Merge"
	e.leaveTemplateFromOut(template, merges)
	if engine := template.Get("engineVersion"); engine.Text() == "v1" && data.Exists() {
		e.Say(conversion.LeftOut, engine, "akv2k8s has no templates")
	}
	if len(data.Fields()) == 0 {
		return
	}
	renamed := e.namedValues(data)
	hasOthers := len(e.spec.Get("dataFrom").Items()) > 0 && !merges
	if renamed == nil || hasOthers {
		e.leaveTemplatesOut(data, merges)
		return
	}
	data.Discard()
	e.renameData(renamed, merges)
}

// leaveTemplateFromOut reports templates in other objects.
func (e *externalSecret) leaveTemplateFromOut(template manifest.Field, merges bool) {
	from := template.Get("templateFrom")
	if !from.Exists() {
		return
	}
	text := "akv2k8s has no templates; store the whole text in the vault, or compose it in the program"
	if !merges && !template.Get("data").Exists() {
		text += "; the output has the values of spec.data and spec.dataFrom instead"
	}
	e.Say(conversion.LeftOut, from, "%s", text)
}

// namedValues returns the secretKey by template key, if all templates only insert a value of spec.data. Otherwise it
// returns nil.
func (e *externalSecret) namedValues(data manifest.Field) map[string]string {
	all := map[string]string{}
	for _, f := range data.Fields() {
		name, _ := valueOf(templateValue, f.Peek())
		if _, ok := e.secretKeys[name]; !ok {
			return nil
		}
		all[f.Key] = name
	}
	return all
}

// renameData gives the values of spec.data the keys of the template.
func (e *externalSecret) renameData(renamed map[string]string, merges bool) {
	byKey := map[*conversion.Resource]map[string]v2beta1.AzureKeyVaultData{}
	for key, place := range e.secretKeys {
		if byKey[place.resource] == nil {
			byKey[place.resource] = map[string]v2beta1.AzureKeyVaultData{}
		}
		byKey[place.resource][key] = place.resource.Spec.Data[place.index]
	}
	for _, r := range e.Resources {
		var data []v2beta1.AzureKeyVaultData
		for _, item := range r.Spec.Data {
			_, replaced := renamed[item.DataKey]
			if item.DataKey == "" || merges && !replaced {
				data = append(data, item)
			}
		}
		for _, key := range conversion.SortedKeys(renamed) {
			if item, ok := byKey[r][renamed[key]]; ok {
				item.DataKey = key
				data = append(data, item)
			}
		}
		r.Spec.Data = data
	}
	e.Resources = slices.DeleteFunc(e.Resources, func(r *conversion.Resource) bool {
		return len(r.Spec.Data)+len(r.Spec.DataFrom) == 0
	})
}

// leaveTemplatesOut reports templates without an equal. The output has the values from which they are composed.
func (e *externalSecret) leaveTemplatesOut(data manifest.Field, merges bool) {
	for _, f := range data.Fields() {
		e.Say(conversion.LeftOut, f,
			"akv2k8s has no templates; store the whole text in the vault, or compose it in the program%s",
			conversion.Dropped(f.Key))
	}
	if !merges {
		e.Say(conversion.LeftOut, data, "the output has the values of spec.data and spec.dataFrom instead of the "+
			"texts that the templates compose")
	}
}
