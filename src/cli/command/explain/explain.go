package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/cli/cluster"
	"github.com/akv2k8s/akv2k8s/src/cli/cmdutil"
	"github.com/akv2k8s/akv2k8s/src/cli/explain"
	"github.com/akv2k8s/akv2k8s/src/convert"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/fault"
)

const explainLong = `Explain where the values of a pod come from, or what an AzureKeyVaultSecret does, and what is
wrong.

For a pod, the command says whether it is injected and why, and for each variable or file with a reference: the
AzureKeyVaultSecret, the vault object with version, type and expiry, who reads it with which identity, what happens when
the container starts, and whether the controller saw a change after a running container had started. Of several
variables of a container with the same reference, it can show one only.

For an AzureKeyVaultSecret it says when the vault is read, the conditions, who writes each key of the outputs, and which
workloads are restarted.

With --filename it explains pods, and the pods of workloads, as if they were created now. AzureKeyVaultSecrets,
ConfigMaps and Secrets of the files count as if they were in the cluster.

What is wrong comes last, as findings of the same form as those of 'kubectl akv2k8s doctor': FAIL for a fault and WARN
for what can surprise, with the check, the reason, the next step, and a command if there is one. With --exit-code, the
exit code is 1 if there is a FAIL.

It evaluates selectors and matchConditions of the webhook of akv2k8s. A condition on the user of the request is not
evaluated, which a note says. Webhooks of other products, which can change or deny the pod, are not considered.

No value is printed, and no vault is read. References in Secrets need --read-secrets, and then the command keeps only
the references of them. It is not needed for a pod that is injected, because the references are in its spec. Of outputs
it reads the metadata, which has the names of keys.`

const explainExample = `  # A pod
  kubectl akv2k8s explain pod/shop-7d4b9

  # An AzureKeyVaultSecret
  kubectl akv2k8s explain akvs/db -n shop

  # What happens if a Deployment is created, before it is
  kubectl akv2k8s explain -f deployment.yaml -f db.yaml

  # In a pipeline: fail if a pod of the manifests would not get its values
  kubectl akv2k8s explain -f manifests/ --exit-code

  # Only what is wrong
  kubectl akv2k8s explain pod/shop-7d4b9 -o json | jq .findings`

// explainCommand is the command explain.
type explainCommand struct {
	streams     genericiooptions.IOStreams
	cluster     *cluster.Flags
	files       []string
	output      string
	readSecrets bool
	exitCode    bool
}

func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	e := &explainCommand{streams: streams}
	cmd := &cobra.Command{Use: "explain (pod/NAME | akvs/NAME | -f FILE...)",
		Short:                 "Explain the values of a pod, or an AzureKeyVaultSecret, and what is wrong",
		DisableFlagsInUseLine: true, Long: explainLong, Example: explainExample,
		RunE: func(cmd *cobra.Command, args []string) error { return e.run(cmd.Context(), args) }}
	e.cluster = cluster.AddFlags(cmd)
	flags := cmd.Flags()
	flags.StringSliceVarP(&e.files, "filename", "f", nil,
		"`FILE` or folder with manifests of pods or workloads, or - for standard input. Can be repeated.")
	flags.StringVarP(&e.output, "output", "o", "", "`FORMAT` of the output: json or yaml. By default it is text.")
	flags.BoolVar(&e.readSecrets, "read-secrets", false,
		"Read the Secrets that the environment of a pod names, to find references in them.")
	flags.BoolVar(&e.exitCode, "exit-code", false,
		"End with exit code 1 if a finding is a fault (FAIL). Without it, the exit code is 0 also then.")
	_ = cmd.MarkFlagFilename("filename", "yaml", "yml", "json") // fails only for a flag that does not exist
	cmdutil.RegisterCompletion(cmd, "output", cobra.FixedCompletions([]string{"json", "yaml"},
		cobra.ShellCompDirectiveNoFileComp))
	cmd.ValidArgsFunction = cmdutil.FirstArgument(e.completeSubjects)
	return cmd
}

// completeSubjects completes pod/NAME and akvs/NAME.
func (e *explainCommand) completeSubjects(cmd *cobra.Command, args []string, typed string) ([]string,
	cobra.ShellCompDirective) {
	for prefix, complete := range map[string]cmdutil.Completer{"pod/": e.cluster.CompletePods,
		"akvs/": e.cluster.CompleteResources} {
		if name, ok := strings.CutPrefix(typed, prefix); ok {
			names, directive := complete(cmd, args, name)
			for i := range names {
				names[i] = prefix + names[i]
			}
			return names, directive
		}
	}
	return cmdutil.WithPrefix([]string{"akvs/", "pod/"}, typed),
		cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// explanation is what the command prints.
type explanation interface {
	WriteText(out io.Writer) error
	Worst() doctor.Severity
}

func (e *explainCommand) run(ctx context.Context, args []string) error {
	kind, name, err := e.parseSubject(args)
	if err != nil {
		return err
	}
	var inputs []convert.Input
	if kind == "" {
		if inputs, err = cmdutil.ReadInputs(e.files, false, e.streams.In); err != nil {
			return err
		}
	}
	c, err := e.cluster.Connect()
	if err != nil {
		return err
	}
	explainer := &explain.Explainer{Reader: c.Client, Clock: time.Now, ReadSecrets: e.readSecrets}
	var all []explanation
	switch kind {
	case "pod":
		all, err = explainOnePod(ctx, c, explainer, name)
	case "akvs":
		var resource *explain.Resource
		resource, err = explainer.Resource(ctx, types.NamespacedName{Namespace: c.Namespace, Name: name})
		all = append(all, resource)
	default:
		all, err = explainFiles(ctx, explainer, inputs, c.Namespace)
	}
	if err != nil {
		return cluster.ExplainError(err)
	}
	if err := e.printAll(all); err != nil {
		return err
	}
	isFault := func(one explanation) bool { return one.Worst() == doctor.Error }
	if e.exitCode && slices.ContainsFunc(all, isFault) {
		return cmdutil.ErrUnhealthy
	}
	return nil
}

// parseSubject returns pod or akvs and a name; kind is empty for files.
func (e *explainCommand) parseSubject(args []string) (kind, name string, err error) {
	text := strings.Join(args, "/") // pod NAME is the same as pod/NAME
	switch {
	case e.output != "" && e.output != "json" && e.output != "yaml":
		return "", "", cmdutil.UsageErrorf("--output %q is not known; use json or yaml", e.output)
	case text == "" && len(e.files) > 0:
		return "", "", nil
	case text == "" || len(e.files) > 0:
		return "", "", cmdutil.UsageErrorf("name one of pod/NAME, akvs/NAME and --filename")
	}
	kind, name, _ = strings.Cut(text, "/")
	switch kind {
	case "pod", "pods", "po":
		kind = "pod"
	case "akvs", "azurekeyvaultsecret", "azurekeyvaultsecrets", "azurekeyvaultsecret.spv.no":
		kind = "akvs"
	default:
		return "", "", cmdutil.UsageErrorf("%q is not pod/NAME or akvs/NAME; for a workload, write 'kubectl get "+
			"KIND NAME -o yaml | kubectl akv2k8s explain -f -'", text)
	}
	if name == "" || strings.Contains(name, "/") {
		return "", "", cmdutil.UsageErrorf("%q has no name; write %s/NAME", text, kind)
	}
	return kind, name, nil
}

func explainOnePod(ctx context.Context, c *cluster.Connection, explainer *explain.Explainer,
	name string) ([]explanation, error) {
	pod, err := c.GetPod(ctx, name)
	if err != nil {
		return nil, err
	}
	explained, err := explainer.Pod(ctx, pod)
	return []explanation{explained}, err
}

func explainFiles(ctx context.Context, explainer *explain.Explainer, inputs []convert.Input,
	namespace string) ([]explanation, error) {
	for _, input := range inputs {
		if err := explainer.Manifests.Add(input.Name, input.Content, namespace); err != nil {
			return nil, &fault.Error{Kind: fault.Invalid, Cause: err, Next: "correct the file"}
		}
	}
	pods, err := explainer.ManifestPods(ctx)
	var all []explanation
	for _, pod := range pods {
		all = append(all, pod)
	}
	return all, err
}

// printAll prints explanations: texts, one object, or a list of objects.
func (e *explainCommand) printAll(all []explanation) error {
	if e.output == "" {
		for i, one := range all {
			if i > 0 {
				fmt.Fprintln(e.streams.Out)
			}
			if err := one.WriteText(e.streams.Out); err != nil {
				return err
			}
		}
		return nil
	}
	var document any = all
	if len(all) == 1 {
		document = all[0]
	}
	content, err := json.MarshalIndent(document, "", "  ")
	if err == nil && e.output == "yaml" {
		content, err = yaml.Marshal(document)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.streams.Out, strings.TrimRight(string(content), "\n"))
	return err
}
