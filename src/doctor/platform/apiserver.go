package platform

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
)

const category = "Kubernetes"

// The supported versions of Kubernetes: kubeVersion of the chart, and the latest version of docs/support.md.
const (
	minKubernetes    = "1.30"
	testedKubernetes = "1.37"
)

// APIServer checks the version of the API server.
func APIServer(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: "the API server answers and has a supported version",
		Run: func(ctx context.Context) []doctor.Finding {
			info, _, err := s.Server.Version(ctx)
			if err != nil {
				return []doctor.Finding{{Severity: doctor.Error, What: "the API server does not answer",
					Why: cluster.ShortMessage(err.Error()), Try: "check the kubeconfig, its context and your network"}}
			}
			live, err := version.ParseGeneric(info.GitVersion)
			switch {
			case err != nil:
				return []doctor.Finding{{Severity: doctor.Warning,
					What: fmt.Sprintf("the version of the API server, %q, can't be read", info.GitVersion),
					Try:  "check that it is Kubernetes " + minKubernetes + " or newer"}}
			case !isAtLeast(live, minKubernetes):
				return []doctor.Finding{{Severity: doctor.Error,
					What: "the API server is " + info.GitVersion,
					Why:  "akv2k8s needs Kubernetes " + minKubernetes + " or newer", Try: "upgrade the cluster"}}
			case isNewer(live, testedKubernetes):
				return doctor.Passed("the API server is " + info.GitVersion + ", newer than the tested version " +
					testedKubernetes)
			}
			return doctor.Passed("the API server is " + info.GitVersion)
		}}
}

func isAtLeast(v *version.Version, minimum string) bool {
	return version.MajorMinor(v.Major(), v.Minor()).AtLeast(version.MustParseGeneric(minimum))
}

func isNewer(v *version.Version, than string) bool {
	return version.MustParseGeneric(than).LessThan(version.MajorMinor(v.Major(), v.Minor()))
}

// shortList joins at most a few names.
func shortList(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
