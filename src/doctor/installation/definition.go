package installation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/crd"
	"github.com/akv2k8s/akv2k8s/src/controller/crdupgrade"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
)

const applyDefinition = "run helm upgrade with crds.upgrade=true, or: helm show crds CHART | kubectl apply " +
	"--server-side --force-conflicts -f -"

var getDefinition = doctor.Right{Verb: "get", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions",
	Name: crd.Name}

// Definition checks that the CustomResourceDefinition is served with the schema and the versions of this release.
func Definition(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: cluster.CheckDefinition,
		Needs: []doctor.Right{getDefinition},
		Run: func(ctx context.Context) []doctor.Finding {
			live, err := readDefinition(ctx, s.Client)
			if apierrors.IsNotFound(err) {
				return schemaFindings(nil)
			}
			if err != nil {
				return cluster.ReadFailure(err, getDefinition)
			}
			return softenForOtherVersion(ctx, s, compareDefinition(live))
		}}
}

// softenForOtherVersion makes errors warnings if the installation has another minor version than this command, whose
// definition it need not have.
func softenForOtherVersion(ctx context.Context, s *cluster.State, found []doctor.Finding) []doctor.Finding {
	all, _ := s.Installations(ctx)
	if !slices.ContainsFunc(all, func(i *cluster.Installation) bool { return len(checkPlugin(i, s.Version)) > 0 }) {
		return found
	}
	for n := range found {
		found[n].Severity = doctor.Warning
		found[n].Why = "this command and the installation have different versions"
	}
	return found
}

// DefinitionBefore checks before an installation that an existing definition can be updated.
func DefinitionBefore(s *cluster.State) doctor.Check {
	return doctor.Check{Category: "Before the installation", Name: "no newer CustomResourceDefinition exists",
		Needs: []doctor.Right{getDefinition},
		Run: func(ctx context.Context) []doctor.Finding {
			live, err := readDefinition(ctx, s.Client)
			if apierrors.IsNotFound(err) {
				return nil
			}
			if err != nil {
				return cluster.ReadFailure(err, getDefinition)
			}
			bundled, err := bundledDefinition()
			if err != nil {
				return []doctor.Finding{doctor.FromError("", err)}
			}
			is, own := crd.Schema(live.Annotations), crd.Schema(bundled.Annotations)
			switch {
			case is > own:
				return []doctor.Finding{{Severity: doctor.Warning, What: fmt.Sprintf(
					"the CustomResourceDefinition has schema %d, and this command knows %d", is, own),
					Why: "a newer version of akv2k8s was installed", Try: "use the newer version of the command"}}
			case is == 0:
				return []doctor.Finding{{Severity: doctor.OK, What: "the CustomResourceDefinition of akv2k8s 1.8 " +
					"exists; the chart updates it, and its resources keep working"}}
			}
			return doctor.Passed("the CustomResourceDefinition exists, and the chart keeps it")
		}}
}

func compareDefinition(live *apiextensionsv1.CustomResourceDefinition) []doctor.Finding {
	bundled, err := bundledDefinition()
	if err != nil {
		return []doctor.Finding{doctor.FromError("", err)}
	}
	for _, c := range live.Status.Conditions {
		if c.Type == apiextensionsv1.NamesAccepted && c.Status == apiextensionsv1.ConditionFalse {
			return []doctor.Finding{{Severity: doctor.Error, What: "the API server does not accept the names of the " +
				"CustomResourceDefinition", Why: cluster.ShortMessage(c.Message),
				Try: "remove the other definition that has the name akvs or azurekeyvaultsecrets"}}
		}
	}
	if found := schemaFindings(&metav1.PartialObjectMetadata{ObjectMeta: live.ObjectMeta}); found != nil {
		return found
	}
	if missing := missingVersions(live, bundled); len(missing) > 0 {
		return []doctor.Finding{{Severity: doctor.Error, What: "the CustomResourceDefinition does not serve " +
			strings.Join(missing, ", "), Why: "akv2k8s reads resources in this version", Try: applyDefinition}}
	}
	return nil
}

// schemaFindings returns what the controller would report at its start.
func schemaFindings(live *metav1.PartialObjectMetadata) []doctor.Finding {
	found, err := crdupgrade.SchemaFinding(live)
	switch {
	case err != nil:
		return []doctor.Finding{doctor.FromError("", err)}
	case found == nil:
		return nil
	}
	found.EffectOf = []string{cluster.CheckPresence}
	return []doctor.Finding{*found}
}

// missingVersions returns the versions that the bundled definition serves and the live one does not.
func missingVersions(live, bundled *apiextensionsv1.CustomResourceDefinition) []string {
	served := map[string]bool{}
	for _, v := range live.Spec.Versions {
		served[v.Name] = v.Served
	}
	var missing []string
	for _, v := range bundled.Spec.Versions {
		if v.Served && !served[v.Name] {
			missing = append(missing, v.Name)
		}
	}
	return missing
}

func readDefinition(ctx context.Context, live client.Reader) (*apiextensionsv1.CustomResourceDefinition, error) {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("apiextensions.k8s.io/v1")
	u.SetKind("CustomResourceDefinition")
	if err := live.Get(ctx, client.ObjectKey{Name: crd.Name}, u); err != nil {
		return nil, err
	}
	found := &apiextensionsv1.CustomResourceDefinition{}
	return found, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, found)
}

func bundledDefinition() (*apiextensionsv1.CustomResourceDefinition, error) {
	found := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(crd.YAML(), found); err != nil {
		return nil, fmt.Errorf("parsing the embedded CustomResourceDefinition: %w", err)
	}
	return found, nil
}
