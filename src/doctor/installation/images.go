package installation

import (
	"context"
	"fmt"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
)

// Images checks that the images of an installation belong to its chart and to each other.
func Images(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: "chart and images belong together",
		Run: func(ctx context.Context) []doctor.Finding {
			return s.ForEach(ctx, func(i *cluster.Installation) []doctor.Finding {
				return append(checkImages(i), checkPlugin(i, s.Version)...)
			})
		}}
}

func checkImages(i *cluster.Installation) []doctor.Finding {
	if i.IsV1() {
		return nil // the check of leftovers reports it
	}
	expected := ""
	for _, d := range i.Deployments() {
		expected = d.Labels["app.kubernetes.io/version"]
	}
	images := imagesOf(i)
	tags := map[string]string{}
	var found []doctor.Finding
	for _, name := range imageNames() {
		tags[name] = strings.TrimSuffix(tagOf(images[name]), "-fips") // empty for a digest
		if strings.HasPrefix(tags[name], "1.") {
			found = append(found, doctor.Finding{Severity: doctor.Error, Object: i.String(),
				What: fmt.Sprintf("the image %s is of akv2k8s 1.x", images[name]), Why: "the chart is for " + expected,
				Try: "remove the tag of this image from the values"})
		}
	}
	if len(found) > 0 {
		return found
	}
	return compareTags(i, tags, expected)
}

// imageNames returns the images of an installation, in the order of findings.
func imageNames() []string { return []string{"controller", "env-injector", "env"} }

// imagesOf returns the images that the components use, by name.
func imagesOf(i *cluster.Installation) map[string]string {
	images := map[string]string{}
	if c := cluster.Container(i.Controller); c != nil {
		images["controller"] = c.Image
	}
	if c := cluster.Container(i.Injector); c != nil {
		images["env-injector"] = c.Image
		images["env"] = cluster.Flag(i.Injector, "env-image")
	}
	return images
}

// compareTags compares the tags of the images with each other and with the version of the chart. An empty tag is not
// known.
func compareTags(i *cluster.Installation, tags map[string]string, expected string) []doctor.Finding {
	for _, pair := range [][2]string{{"controller", "env-injector"}, {"env-injector", "env"}} {
		tag, other := tags[pair[0]], tags[pair[1]]
		if tag != "" && other != "" && tag != other {
			return []doctor.Finding{{Severity: doctor.Error, Object: i.String(),
				What: fmt.Sprintf("the images %s and %s have different versions: %s and %s", pair[0], pair[1], tag,
					other),
				Why: "the components of one installation must have one version",
				Try: "remove tags of images from the values, so that the chart selects them"}}
		}
	}
	for _, name := range imageNames() {
		if tag := tags[name]; tag != "" && expected != "" && tag != expected {
			return []doctor.Finding{{Severity: doctor.Warning, Object: i.String(),
				What: fmt.Sprintf("the image %s has version %s, and the chart is for %s", name, tag, expected),
				Why:  "rights, flags and the CustomResourceDefinition are those of the chart",
				Try:  "install the chart of that version, or remove tags of images from the values"}}
		}
	}
	return nil
}

// tagOf returns the tag of an image; empty if it has a digest or no tag.
func tagOf(image string) string {
	if strings.Contains(image, "@") {
		return ""
	}
	_, name, found := strings.Cut(image, "/")
	if !found {
		name = image
	}
	_, tag, _ := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	return tag
}

// checkPlugin compares the minor versions of this command and the installation.
func checkPlugin(i *cluster.Installation, own string) []doctor.Finding {
	live := ""
	for _, d := range i.Deployments() {
		live = d.Labels["app.kubernetes.io/version"]
	}
	if own == "" || strings.HasSuffix(own, "-dev") || live == "" || minorOf(own) == minorOf(live) {
		return nil
	}
	return []doctor.Finding{{Severity: doctor.Warning, Object: i.String(),
		What: fmt.Sprintf("this command has version %s, and the installation %s", own, live),
		Why:  "it can complain about what is right in the other version", Try: "use kubectl-akv2k8s " + live}}
}

func minorOf(version string) string {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	return strings.Join(parts[:min(len(parts), 2)], ".")
}
