package installation

import (
	"context"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
)

const category = "Installation"

// Presence checks that exactly one installation serves the namespaces.
func Presence(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: cluster.CheckPresence,
		Run: func(ctx context.Context) []doctor.Finding {
			all, problem := s.Installations(ctx)
			if problem != nil {
				return problem
			}
			if len(all) == 0 {
				return []doctor.Finding{{Severity: doctor.Error, What: "akv2k8s is not installed",
					Why: "no Deployment of the chart was found",
					Try: "install the chart; 'kubectl akv2k8s doctor --pre' checks what it needs"}}
			}
			var names, wide []string
			for _, one := range all {
				names = append(names, one.String())
				if one.WatchesAll() && !one.IsV1() { // the check of leftovers reports 1.8
					wide = append(wide, one.String())
				}
			}
			if len(wide) > 1 && !haveSelectors(all) {
				return []doctor.Finding{{Severity: doctor.Error,
					What: "several installations serve all namespaces: " + strings.Join(wide, ", "),
					Why:  "they overwrite each other's outputs, and inject pods twice",
					Try: "uninstall one of them, or give each its own resources with controller.env.OBJECT_LABELS or " +
						"watchAllNamespaces=false"}}
			}
			return doctor.Passed("installed: " + strings.Join(names, ", "))
		}}
}

// haveSelectors reports whether all controllers but one select their resources by labels.
func haveSelectors(all []*cluster.Installation) bool {
	without := 0
	for _, one := range all {
		c := cluster.Container(one.Controller)
		if c == nil || !one.WatchesAll() {
			continue
		}
		selects := false
		for _, v := range c.Env {
			selects = selects || v.Name == "OBJECT_LABELS" && (v.Value != "" || v.ValueFrom != nil)
		}
		if !selects {
			without++
		}
	}
	return without <= 1
}

// NoOther checks before an installation that no other one exists.
func NoOther(s *cluster.State) doctor.Check {
	return doctor.Check{Category: "Before the installation", Name: "no other installation serves the cluster",
		Run: func(ctx context.Context) []doctor.Finding {
			all, problem := s.Installations(ctx)
			if problem != nil {
				return problem
			}
			var found []doctor.Finding
			for _, one := range all {
				if one.IsV1() {
					found = append(found, doctor.Finding{Severity: doctor.Warning, Object: one.String(),
						What: "akv2k8s 1.8 is installed", Why: "a second installation would use the same resources",
						Try: "upgrade its release with helm upgrade instead of installing another one; see " +
							"docs/upgrading.md"})
					continue
				}
				found = append(found, doctor.Finding{Severity: doctor.Warning, Object: one.String(),
					What: "akv2k8s is already installed", Why: "two installations that serve all namespaces " +
						"overwrite each other's outputs",
					Try: "upgrade it, or see docs/how-to/several-installations.md"})
			}
			return found
		}}
}
