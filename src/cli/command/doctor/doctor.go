package doctor

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/akv2k8s/akv2k8s/src/cli/cluster"
	"github.com/akv2k8s/akv2k8s/src/cli/cmdutil"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/checks"
	doctorcluster "github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/program"
	"github.com/akv2k8s/akv2k8s/src/version"
)

const doctorLong = `Find out why akv2k8s does not work. Each check is a line; one that fails has the cause and the next step.

  kubectl akv2k8s doctor             checks the cluster: versions, the installation, its webhook, the namespaces with
                                     injected pods, and the AzureKeyVaultSecrets
  kubectl akv2k8s doctor --pre       checks before the installation what it needs
  kubectl akv2k8s doctor -n NS       checks one namespace, also without rights in the cluster
  kubectl akv2k8s doctor akvs/NAME   checks one AzureKeyVaultSecret, and doctor pod/NAME one pod
  kubectl akv2k8s doctor --azure     checks Azure, too: sign-in, DNS, connections, and each vault object that a resource
                                     names, with the az command that mends a fault

The command changes nothing. It creates pods as dry runs, which the API server checks and does not keep. Only --azure
creates something: a Job with the identity, the network and the image of the controller, in its namespace. The Job is
deleted when the checks end, also after an interrupt.

A check for which you lack a right is skipped, and the line names the right. A finding that is the effect of another one
is not reported as a fault of its own. No secret value or token is read by the command, or is in its output.

Exit codes: 0 if no check fails, also with warnings, and 1 if one fails or the command can't run.`

const doctorExample = `  # What is wrong?
  kubectl akv2k8s doctor

  # What is wrong with my namespace, and with Azure?
  kubectl akv2k8s doctor -n team --azure

  # Is the cluster ready for the installation?
  kubectl akv2k8s doctor --pre

  # Why is this resource not in sync, and why does this pod not start?
  kubectl akv2k8s doctor -n team akvs/database
  kubectl akv2k8s doctor -n team pod/app-5b8f

  # In a pipeline, wait up to five minutes until all checks pass
  kubectl akv2k8s doctor --wait 5m -o short`

// doctorFlags are the flags of doctor.
type doctorFlags struct {
	streams         genericiooptions.IOStreams
	cluster         *cluster.Flags
	pre, azure      bool
	output          string
	timeout, wait   time.Duration
	systemNamespace string
}

func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	f := &doctorFlags{streams: streams}
	cmd := &cobra.Command{Use: "doctor [akvs/NAME | pod/NAME]", Short: "Find out why akv2k8s does not work",
		DisableFlagsInUseLine: true, Long: doctorLong, Example: doctorExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cmdutil.UsageErrorf("%s takes one object, but has %q; run '%[1]s --help'", cmd.CommandPath(),
					args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), args) }}
	f.cluster = cluster.AddFlags(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.pre, "pre", false, "Check before an installation what it needs.")
	flags.BoolVar(&f.azure, "azure", false, "Check Azure from a Job with the controller's identity and network.")
	flags.StringVarP(&f.output, "output", "o", string(doctor.Table),
		"`FORMAT` of the report: table, short (only what is "+
			"not ok) or json.")
	flags.DurationVar(&f.timeout, "timeout", limits.DoctorTime,
		"`DURATION` of all checks together, without those of Azure.")
	flags.DurationVar(&f.wait, "wait", 0, "`DURATION` for which failed checks are repeated until they pass.")
	flags.StringVar(&f.systemNamespace, "system-namespace", "akv2k8s",
		"`NAMESPACE` of the installation: the planned one with --pre, or if you can't list all.")
	return cmd
}

// checkFlags returns an error if flags contradict each other.
func (f *doctorFlags) checkFlags(args []string) error {
	switch {
	case !slices.Contains(doctor.Formats(), doctor.Format(f.output)):
		return cmdutil.UsageErrorf("--output %q is unknown; use table, short or json", f.output)
	case f.timeout <= 0 || f.wait < 0:
		return cmdutil.UsageErrorf("--timeout must be positive, and --wait must not be negative")
	case f.pre && (f.azure || len(args) > 0):
		return cmdutil.UsageErrorf("--pre checks the cluster before an installation; use it without --azure and " +
			"without an object")
	}
	return nil
}

func (f *doctorFlags) run(ctx context.Context, args []string) error {
	if err := f.checkFlags(args); err != nil {
		return err
	}
	examination, err := f.newExamination(args)
	if err != nil {
		return err
	}
	findings, err := examination.RunUntil(ctx, f.wait)
	if fault.KindOf(err) == fault.Invalid {
		return cmdutil.UsageError{Cause: err}
	} else if err != nil {
		return err
	}
	if err := doctor.Write(f.streams.Out, doctor.Format(f.output), findings); err != nil {
		return err
	}
	if doctor.Worst(findings) == doctor.Error {
		return cmdutil.ErrUnhealthy
	}
	return nil
}

// newExamination returns the examination that flags and arguments describe.
func (f *doctorFlags) newExamination(args []string) (checks.Examination, error) {
	c, err := f.cluster.Connect()
	if err != nil {
		return checks.Examination{}, err
	}
	server, err := doctorcluster.NewAPIServer(c.Config)
	if err != nil {
		return checks.Examination{}, err
	}
	// The flags of the subcommand that the Job runs are those that all programs have.
	settings := program.NewSettings(func(string) (string, bool) { return "", false })
	known := pflag.NewFlagSet("", pflag.ContinueOnError)
	settings.AddFlags(known)
	e := checks.Examination{Config: doctorcluster.Config{Client: c.Client, Server: server, Now: time.Now,
		SystemNamespace: f.systemNamespace, Version: version.String()}, Logs: c.Core, Before: f.pre,
		Azure: f.azure, AzureFlags: known, Timeout: f.timeout, Progress: f.streams.ErrOut, Object: strings.Join(args,
			"")}
	if len(args) > 0 || f.cluster.NamespaceFlag() != "" {
		e.Namespace = c.Namespace
	}
	return e, nil
}
