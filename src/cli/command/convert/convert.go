package convert

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/akv2k8s/akv2k8s/src/cli/cmdutil"
	"github.com/akv2k8s/akv2k8s/src/convert"
)

const convertLong = `Convert manifests of other products, and of akv2k8s 1.x, into AzureKeyVaultSecrets and values of the chart.

Sources:

  External Secrets Operator          ExternalSecret, ClusterExternalSecret, and stores of the provider azurekv
  Secrets Store CSI Driver           SecretProviderClass of the provider azure
  akv2k8s 1.x                        AzureKeyVaultSecret of every version, and values of the chart
  Azure App Configuration provider   AzureAppConfigurationProvider, with an export of the store's settings
  Argo CD vault plugin               placeholders <path:VAULT#SECRET> in Secrets, ConfigMaps and variables of containers

The output is a stream of YAML for kubectl apply, in the order of the input. Objects of other kinds pass through
unchanged, and so do objects that have no equal. Nothing is sent to a cluster or a vault.

What has no equal becomes a comment at its place and a line of the report, and the exit code is 3. The report never has
values of the input, only names and paths of fields. It has three kinds of lines:

  left out   a part has no equal, or the output will have other data than before
  changed    a part works in another way, with the same data
  note       a step for you

Give all files that belong together in one run: an ExternalSecret gets its vault from its store, and a
SecretProviderClass its ServiceAccount from the workload that mounts it. Stores and identities become values of the
chart, as a comment at the end of the output, or in the file of --values.

A Secret that exists already belongs to the other product. Before you apply the output, read the steps of the migration
guides in docs/migration: akv2k8s writes into such a Secret only if you allow it.`

const convertExample = `  # Convert a folder, and see what would change
  kubectl akv2k8s convert -f manifests/ | kubectl diff -f -

  # Convert what is in the cluster, with the values of the chart in a file
  kubectl get secretstores,externalsecrets -A -o yaml | kubectl akv2k8s convert -f - --values values.yaml

  # Only the report
  kubectl akv2k8s convert -f manifests/ --report -

  # The store is in another repository
  kubectl akv2k8s convert -f database.yaml --vault my-vault

  # Values of chart 2.8
  kubectl akv2k8s convert -f values.yaml > values-3.yaml`

// convertFlags are the flags of convert.
type convertFlags struct {
	streams        genericiooptions.IOStreams
	files          []string
	recursive      bool
	vaults         []string
	values, report string
}

func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	f := &convertFlags{streams: streams}
	cmd := &cobra.Command{Use: "convert -f FILE...", Short: "Convert manifests of other products, and of akv2k8s 1.x",
		DisableFlagsInUseLine: true, Long: convertLong, Example: convertExample, Args: cmdutil.RejectArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context()) }}
	flags := cmd.Flags()
	flags.StringSliceVarP(&f.files, "filename", "f", nil,
		"`FILE` or folder with manifests or values in YAML or JSON, or - for standard input. Can be repeated.")
	flags.BoolVarP(&f.recursive, "recursive", "R", false, "Read folders with the folders in them.")
	flags.StringSliceVar(&f.vaults, "vault", nil,
		"Vault of the stores that are not among the files: `VAULT` for all, or STORE=VAULT. Can be repeated.")
	flags.StringVar(&f.values, "values", "",
		"`FILE` for the values of the chart. With - they are the only output. By default they are a comment.")
	flags.StringVar(&f.report, "report", "",
		"`FILE` for the report. With - it is the only output. By default it goes to standard error.")
	_ = cmd.MarkFlagFilename("filename", "yaml", "yml", "json") // fails only for a flag that does not exist
	return cmd
}

func (f *convertFlags) run(ctx context.Context) error {
	if len(f.files) == 0 {
		return cmdutil.UsageErrorf("--filename is required; name files or folders, or - for standard input")
	}
	if f.values == "-" && f.report == "-" {
		return cmdutil.UsageErrorf("--values and --report can't both be the output; name a file for one of them")
	}
	options, err := f.options()
	if err != nil {
		return err
	}
	inputs, err := cmdutil.ReadInputs(f.files, f.recursive, f.streams.In)
	if err != nil {
		return err
	}
	result, err := convert.Convert(ctx, inputs, options)
	if err != nil {
		return err
	}
	if err := f.write(result); err != nil {
		return err
	}
	if result.HasLeftOut() {
		return cmdutil.ErrIncomplete
	}
	return nil
}

func (f *convertFlags) options() (convert.Options, error) {
	options := convert.Options{Vaults: map[string]string{}}
	for _, one := range f.vaults {
		store, vault, found := strings.Cut(one, "=")
		if !found {
			store, vault = "", one
		}
		if vault == "" {
			return options, cmdutil.UsageErrorf("--vault %q has no vault; use VAULT or STORE=VAULT", one)
		}
		options.Vaults[store] = vault
	}
	return options, nil
}

// write writes the resources, the values and the report.
func (f *convertFlags) write(result *convert.Result) error {
	report, values := reportOf(result), strings.Join(result.Values, "---\n")
	if err := f.writeTo(f.report, f.streams.ErrOut, report); err != nil {
		return err
	}
	if f.values != "" {
		if err := f.writeTo(f.values, io.Discard, values); err != nil {
			return err
		}
	}
	if f.values == "-" || f.report == "-" {
		return nil
	}
	documents := result.Documents
	switch {
	case f.values != "" || values == "":
	case result.OnlyValues:
		documents = []string{values}
	default:
		documents = append(documents, "# Values of the chart for these stores and identities:\n"+asComment(values))
	}
	_, err := io.WriteString(f.streams.Out, strings.Join(documents, "---\n"))
	return err
}

// writeTo writes a text to a file, to standard output if the name is -, or to a default if it is empty.
func (f *convertFlags) writeTo(name string, otherwise io.Writer, text string) error {
	switch name {
	case "":
		_, err := io.WriteString(otherwise, text)
		return err
	case "-":
		_, err := io.WriteString(f.streams.Out, text)
		return err
	}
	return os.WriteFile(name, []byte(text), 0o600) // values can hold credentials
}

// reportOf returns the report: a line for each finding, and a summary.
func reportOf(result *convert.Result) string {
	var out strings.Builder
	counts := map[convert.Kind]int{}
	for _, finding := range result.Findings {
		counts[finding.Kind]++
		fmt.Fprintln(&out, finding)
	}
	fmt.Fprintf(&out, "%d of %d objects converted; AzureKeyVaultSecrets: %d, left out: %d, changed: %d, notes: %d\n",
		result.Converted, result.Objects, result.Resources, counts[convert.LeftOut], counts[convert.Changed],
		counts[convert.Note])
	return out.String()
}

// asComment turns a text into lines of a comment.
func asComment(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(strings.TrimRight("# "+line, " \n") + "\n")
	}
	return out.String()
}
