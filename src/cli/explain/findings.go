package explain

import (
	"reflect"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/doctor"
)

// Names of what is checked. As those of the doctor, they say what is right if there is no finding.
const (
	checkInjection   = "the pod is injected"
	checkAdmission   = "the env-injector admits the pod"
	checkAuthService = "the auth service serves the pod"
	checkRecorded    = "the references are those with which the pod was created"
	checkStart       = "the init containers of akv2k8s succeed"
	checkCurrent     = "containers have the current values"
	checkExistence   = "the resources of the references exist"
	checkSpec        = "the spec is valid"
	checkQuery       = "the references select a value"
	checkReady       = "the resource is in sync"
	checkExpiry      = "the vault objects have not expired"
	checkOwner       = "one installation syncs the resource"
	checkRefresh     = "requested refreshes are answered"
	checkOutputs     = "the outputs exist"
	checkRestarts    = "the workloads can be restarted"
)

// resourceObject names an AzureKeyVaultSecret in a finding.
func resourceObject(name string) string { return "akvs/" + name }

// kindObject names an object of any other kind in a finding.
func kindObject(kind, name string) string { return strings.ToLower(kind) + "/" + name }

// subject names the pod in a finding, or the workload of a manifest.
func (x *podExplanation) subject() string { return kindObject(x.result.Kind, x.result.Name) }

// Worst returns the worst severity of the findings.
func (p *Pod) Worst() doctor.Severity { return doctor.Worst(p.Findings) }

// Worst returns the worst severity of the findings.
func (r *Resource) Worst() doctor.Severity { return doctor.Worst(r.Findings) }

// problem is a finding about a resource, with the variables and files of a pod that it concerns.
type problem struct {
	finding   doctor.Finding
	concerned []string
}

// addProblem adds a finding about a resource for a variable or file.
func (x *podExplanation) addProblem(f doctor.Finding, concerned string) {
	for i, known := range x.problems {
		if reflect.DeepEqual(known.finding, f) {
			x.problems[i].concerned = append(known.concerned, concerned)
			return
		}
	}
	x.problems = append(x.problems, problem{f, []string{concerned}})
}

// addFinding adds a finding that the explanation does not have yet.
func (x *podExplanation) addFinding(f doctor.Finding) {
	isSame := func(known doctor.Finding) bool { return reflect.DeepEqual(known, f) }
	if !slices.ContainsFunc(x.result.Findings, isSame) {
		x.result.Findings = append(x.result.Findings, f)
	}
}
