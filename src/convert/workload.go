package convert

import (
	"slices"

	"github.com/akv2k8s/akv2k8s/src/convert/conversion"
	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
)

// workload is an object with a pod template that mounts SecretProviderClasses.
type workload struct {
	namespace, account string
	classes            []string
}

// podSpec returns the spec of the object's pods; a missing field if it has none.
func podSpec(root manifest.Field) manifest.Field {
	for _, keys := range [][]string{{"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"},
		{"spec"}} {
		f := root
		for _, key := range keys {
			if f.IsMapping() {
				f = f.Get(key)
			} else {
				f = manifest.Field{}
			}
		}
		if f.IsMapping() && f.Get("containers").IsList() {
			return f
		}
	}
	return manifest.Field{}
}

// mountedClasses returns the fields that name SecretProviderClasses in the volumes of pods.
func mountedClasses(spec manifest.Field) []manifest.Field {
	var all []manifest.Field
	volumes := spec.Get("volumes")
	if !volumes.IsList() {
		return nil
	}
	for _, volume := range volumes.Items() {
		csi := volume.Get("csi")
		if !csi.IsMapping() || csi.Get("driver").Peek() != "secrets-store.csi.k8s.io" {
			continue
		}
		if attributes := csi.Get("volumeAttributes"); attributes.IsMapping() {
			all = append(all, attributes.Get("secretProviderClass"))
		}
	}
	return all
}

// workloads are those of the run that mount SecretProviderClasses.
type workloads struct{ all []workload }

// collect remembers which ServiceAccount mounts which SecretProviderClass.
func (w *workloads) collect(o *conversion.Object) {
	spec := podSpec(o.Root)
	one := workload{namespace: o.Namespace, account: conversion.PeekText(spec, "serviceAccountName")}
	for _, class := range mountedClasses(spec) {
		one.classes = append(one.classes, class.Peek())
	}
	if len(one.classes) > 0 && one.account != "" {
		w.all = append(w.all, one)
	}
}

// accountsOf returns the ServiceAccounts of the pods that mount a SecretProviderClass.
func (w *workloads) accountsOf(namespace, class string) []string {
	var all []string
	for _, one := range w.all {
		isSame := one.namespace == namespace || one.namespace == "" || namespace == ""
		if isSame && slices.Contains(one.classes, class) && !slices.Contains(all, one.account) {
			all = append(all, one.account)
		}
	}
	return all
}

// reportMounts tells which volumes of a workload must change.
func reportMounts(o *conversion.Object) {
	for _, class := range mountedClasses(podSpec(o.Root)) {
		o.Say(conversion.Note, class, "replace the csi volume by a Secret volume, or by references "+
			"NAME@azurekeyvault, when the resources of SecretProviderClass %q are ready", class.Peek())
	}
	for _, volume := range podSpec(o.Root).Get("volumes").Items() {
		if secret := volume.Get("csi").Get("nodePublishSecretRef"); volume.IsMapping() && secret.Exists() {
			o.Say(conversion.Note, secret, "the service principal in this Secret becomes global.envFromSecret; see "+
				"docs/migration/secrets-store-csi.md")
		}
	}
}

// otherObjects keeps what no other source has.
type otherObjects struct{ workloads *workloads }

// Matches implements conversion.Source.
func (otherObjects) Matches(*conversion.Object) bool { return true }

// Collect implements conversion.Source.
func (s otherObjects) Collect(o *conversion.Object) { s.workloads.collect(o) }

// Convert implements conversion.Source.
func (otherObjects) Convert(o *conversion.Object) {
	if o.Kind == "" {
		o.Say(conversion.LeftOut, o.Root, "the document has no kind, and no values of akv2k8s")
		return
	}
	o.Keep()
	reportMounts(o)
}
