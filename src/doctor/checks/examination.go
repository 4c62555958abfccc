package checks

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/utils/ptr"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/azurejob"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Examination is one run of kubectl akv2k8s doctor.
type Examination struct {
	// Config has the clients, and what is checked.
	cluster.Config
	// Logs reads the log of the Job.
	Logs typedcorev1.PodsGetter
	// Object is KIND/NAME in the namespace of Config; empty checks the cluster or the namespace.
	Object string
	// Before selects the checks before an installation, and Azure adds those of Azure.
	Before, Azure bool
	// AzureFlags are the flags of the controller's subcommand for the Job.
	AzureFlags *pflag.FlagSet
	// Timeout limits all checks but those of Azure.
	Timeout time.Duration
	// Progress gets a line before the checks of Azure.
	Progress io.Writer
}

// RunUntil runs the checks, and runs them again until none fails or the time is over. It returns the last findings.
func (e Examination) RunUntil(ctx context.Context, wait time.Duration) ([]doctor.Finding, error) {
	for end := e.Now().Add(wait); ; {
		findings, err := e.Run(ctx)
		if err != nil || doctor.Worst(findings) != doctor.Error || !e.Now().Before(end) {
			return findings, err
		}
		select {
		case <-ctx.Done():
			return findings, nil
		case <-time.After(limits.DoctorRepeat):
		}
	}
}

// Run runs the checks. An error of kind fault.Invalid means that Object is wrong.
func (e Examination) Run(ctx context.Context) ([]doctor.Finding, error) {
	state := cluster.New(e.Config)
	all := Installed(state)
	if e.Before {
		all = Before(state)
	}
	scope := azurejob.Scope{Namespace: e.Namespace}
	if e.Object != "" {
		check, err := Object(state, e.Object)
		if err != nil {
			return nil, err
		}
		all = []doctor.Check{check}
		if kind, name, _ := strings.Cut(e.Object, "/"); !strings.HasPrefix(strings.ToLower(kind), "po") {
			scope.Resource = name
		}
	}
	findings := doctor.Run(ctx, all, doctor.Options{Timeout: e.Timeout, CheckTimeout: e.Timeout * 4 / 5,
		Parallel: limits.DoctorParallel, MissingRights: state.MissingRights})
	if e.Azure {
		findings = append(findings, e.examineAzure(ctx, state, scope)...)
	}
	return findings, nil
}

// examineAzure runs the checks of Azure for each installation.
func (e Examination) examineAzure(ctx context.Context, state *cluster.State, scope azurejob.Scope) []doctor.Finding {
	all, found := state.Installations(ctx)
	if found == nil && len(all) == 0 {
		found = []doctor.Finding{{Severity: doctor.Error,
			What: "akv2k8s is not installed, and the checks of Azure need its controller", Try: "install the chart"}}
	}
	for _, one := range all {
		found = append(found, e.examineInstallation(ctx, state, one, scope)...)
	}
	for i := range found {
		if found[i].Check == "" {
			found[i].Category, found[i].Check = "Azure", "the checks of Azure run"
		}
	}
	return found
}

func (e Examination) examineInstallation(ctx context.Context, state *cluster.State, one *cluster.Installation,
	scope azurejob.Scope) []doctor.Finding {
	if one.IsV1() {
		return []doctor.Finding{{Severity: doctor.Warning, Object: one.String(),
			What: "Azure was not checked: akv2k8s 1.8 has no such checks", Try: "upgrade it, see docs/upgrading.md"}}
	}
	missing, err := state.MissingRights(ctx, azurejob.RightsOf(one))
	if err == nil && len(missing) > 0 {
		return []doctor.Finding{doctor.MissingRight(missing...)}
	}
	fmt.Fprintf(e.Progress, "checking Azure from a Job in namespace %s …\n", one.Namespace)
	findings, err := azurejob.Runner{Client: e.Client, Logs: e.openLog, KnownFlags: e.AzureFlags,
		PollInterval: limits.DoctorAzurePoll}.Run(ctx, one, scope)
	if err != nil {
		failed := doctor.FromError(one.String(), err)
		failed.What = cluster.ShortMessage(failed.What)
		return []doctor.Finding{failed}
	}
	return findings
}

// openLog opens the log of a container, up to its limit.
func (e Examination) openLog(ctx context.Context, namespace, pod, container string) (io.ReadCloser, error) {
	log, err := e.Logs.Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container,
		LimitBytes: ptr.To(int64(limits.DoctorAzureAnswerBytes))}).Stream(ctx)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "reading the log of the Job")
	}
	return log, nil
}
