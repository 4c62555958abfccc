package sbom

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// Image is what a document describes.
type Image struct {
	// Name with its registry, and Version, which is the tag.
	Name, Version string
	// Digest of its index, sha256:…
	Digest string
	// Created is the time of the commit, so that equal sources give an equal document.
	Created time.Time
	// Modules are what its programs are linked with.
	Modules []Module
}

// WriteSPDX writes an SPDX 2.3 document as JSON: the image, and each module as a dependency of it.
func WriteSPDX(to io.Writer, i Image) error {
	document := &v2_3.Document{SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName:      i.Name + ":" + i.Version,
		DocumentNamespace: fmt.Sprintf("https://akv2k8s.io/spdx/%s@%s", i.Name, i.Digest),
		CreationInfo: &v2_3.CreationInfo{Created: i.Created.UTC().Format(time.RFC3339),
			Creators: []common.Creator{{CreatorType: "Organization", Creator: "akv2k8s"}}}}
	image := &v2_3.Package{PackageName: i.Name, PackageVersion: i.Version, PackageSPDXIdentifier: "Image",
		PrimaryPackagePurpose: "CONTAINER", PackageDownloadLocation: "NOASSERTION",
		PackageLicenseConcluded: "Apache-2.0", PackageLicenseDeclared: "Apache-2.0",
		PackageCopyrightText: "NOASSERTION"}
	if algorithm, value, found := strings.Cut(i.Digest, ":"); found && algorithm == "sha256" {
		image.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: value}}
	}
	document.Packages = append(document.Packages, image)
	document.Relationships = append(document.Relationships, relate("DOCUMENT", "DESCRIBES", "Image"))
	for number, m := range i.Modules {
		id := common.ElementID(fmt.Sprintf("Module-%d", number+1))
		document.Packages = append(document.Packages, m.asPackage(id))
		document.Relationships = append(document.Relationships, relate("Image", "DEPENDS_ON", id))
	}
	return json.Write(document, to, json.Indent(" "))
}

func (m Module) asPackage(id common.ElementID) *v2_3.Package {
	licence := "NOASSERTION"
	if len(m.Licences) > 0 {
		licence = strings.Join(m.Licences, " AND ")
	}
	return &v2_3.Package{PackageName: m.Path, PackageVersion: m.Version, PackageSPDXIdentifier: id,
		PrimaryPackagePurpose: "LIBRARY", PackageDownloadLocation: "NOASSERTION",
		PackageLicenseConcluded: licence, PackageLicenseDeclared: licence, PackageCopyrightText: "NOASSERTION",
		PackageExternalReferences: []*v2_3.PackageExternalReference{{Category: common.CategoryPackageManager,
			RefType: common.TypePackageManagerPURL, Locator: m.packageURL()}}}
}

// packageURL is the package URL by which scanners look for known faults.
func (m Module) packageURL() string {
	if m.Path == "std" {
		return "pkg:golang/stdlib@" + strings.TrimPrefix(m.Version, "go")
	}
	return "pkg:golang/" + strings.ToLower(m.Path) + "@" + strings.ReplaceAll(m.Version, "+", "%2B")
}

func relate(from common.ElementID, how string, to common.ElementID) *v2_3.Relationship {
	return &v2_3.Relationship{RefA: common.MakeDocElementID("", string(from)), Relationship: how,
		RefB: common.MakeDocElementID("", string(to))}
}

// WriteLicences writes the texts of all modules, as their licences ask of those who distribute programs.
func WriteLicences(to io.Writer, modules []Module) error {
	for _, m := range modules {
		for _, name := range sortedNames(m.Texts) {
			if _, err := fmt.Fprintf(to, "==== %s %s: %s\n\n%s\n", m.Path, m.Version, name, m.Texts[name]); err != nil {
				return err
			}
		}
	}
	return nil
}
