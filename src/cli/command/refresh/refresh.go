package refresh

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/cli/cluster"
	"github.com/akv2k8s/akv2k8s/src/cli/cmdutil"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

const refreshLong = `Make the controller read the vault of an AzureKeyVaultSecret now, and wait for the result.

The command sets the annotation akv2k8s.io/refresh of the resource to the current time, and waits until the controller
confirms it in status.refresh. It needs the right to patch AzureKeyVaultSecrets, which the ClusterRole edit has.

While the vault is unavailable or throttles, the controller retries, and the command waits. Any other failure ends the
command with exit code 1 and the message of the condition Ready.

Pods keep the values with which they started. spec.rolloutRestart of the resource restarts them.`

const refreshExample = `  # Read the vault now
  kubectl akv2k8s refresh db

  # Wait longer, for example in a pipeline that has just written the vault
  kubectl akv2k8s refresh db -n shop --timeout 5m

  # Only request it
  kubectl akv2k8s refresh db --wait=false`

// refreshFieldManager is the field manager of the annotation.
const refreshFieldManager = "kubectl-akv2k8s"

// refreshCommand is the command refresh.
type refreshCommand struct {
	streams genericiooptions.IOStreams
	cluster *cluster.Flags
	wait    bool
	timeout time.Duration
}

func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	r := &refreshCommand{streams: streams}
	cmd := &cobra.Command{Use: "refresh NAME", Short: "Read the vault of an AzureKeyVaultSecret now",
		DisableFlagsInUseLine: true, Long: refreshLong, Example: refreshExample, Args: cmdutil.RequireOneName,
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(cmd.Context(), args[0]) }}
	r.cluster = cluster.AddFlags(cmd)
	cmd.Flags().BoolVar(&r.wait, "wait", true, "Wait for the result.")
	cmd.Flags().DurationVar(&r.timeout, "timeout", limits.RefreshWait, "`DURATION` to wait, such as 5m.")
	cmd.ValidArgsFunction = cmdutil.FirstArgument(r.cluster.CompleteResources)
	return cmd
}

func (r *refreshCommand) run(ctx context.Context, name string) error {
	if r.timeout <= 0 {
		return cmdutil.UsageErrorf("--timeout must be more than 0s; use --wait=false to wait for nothing")
	}
	c, err := r.cluster.Connect()
	if err != nil {
		return err
	}
	key := types.NamespacedName{Namespace: c.Namespace, Name: name}
	before := &v2beta1.AzureKeyVaultSecret{}
	if err := c.Client.Get(ctx, key, before); err != nil {
		return cluster.ExplainResourceError(err, key)
	}
	request, err := requestRefresh(ctx, c, key)
	if err != nil {
		return err
	}
	if !r.wait {
		fmt.Fprintf(r.streams.Out, "refresh of azurekeyvaultsecret/%s requested\n", name)
		return nil
	}
	after, err := r.waitForRefresh(ctx, c, key, request)
	if err != nil {
		return err
	}
	return r.printOutcome(before, after)
}

// requestRefresh sets the annotation, and returns its value. The value is a time, which the controller copies into the
// status unchanged.
func requestRefresh(ctx context.Context, c *cluster.Connection, key types.NamespacedName) (string, error) {
	request := time.Now().UTC().Format(time.RFC3339Nano)
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{wire.AnnotationRefresh: request}}})
	if err != nil {
		return "", err
	}
	object := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	err = c.Client.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch),
		client.FieldOwner(refreshFieldManager))
	return request, cluster.ExplainResourceError(err, key)
}

// waitForRefresh waits until the controller has answered the request, and returns the resource.
func (r *refreshCommand) waitForRefresh(ctx context.Context, c *cluster.Connection, key types.NamespacedName,
	request string) (*v2beta1.AzureKeyVaultSecret, error) {
	resource := &v2beta1.AzureKeyVaultSecret{}
	shown := ""
	err := wait.PollUntilContextTimeout(ctx, limits.RefreshPoll, r.timeout, true,
		func(ctx context.Context) (bool, error) {
			if err := c.Client.Get(ctx, key, resource); err != nil {
				return false, err
			}
			if resource.Status.Refresh == request || resource.Annotations[wire.AnnotationRefresh] != request {
				return true, nil
			}
			if cause := failureOf(resource); cause != shown {
				shown = cause
				fmt.Fprintf(r.streams.ErrOut, "waiting: %s\n", cause)
			}
			return false, nil
		})
	switch {
	case wait.Interrupted(err):
		return nil, r.explainTimeout(resource, key)
	case err != nil:
		return nil, cluster.ExplainResourceError(err, key)
	case resource.Status.Refresh != request:
		return nil, fault.NewWithNextStep(fault.Conflict, "see the result with 'kubectl akv2k8s get "+key.Name+"'",
			"another request for a refresh of AzureKeyVaultSecret %q has replaced this one", key.Name)
	}
	return resource, nil
}

// failureOf returns why a resource is not ready; empty if it is, or if that is not known.
func failureOf(resource *v2beta1.AzureKeyVaultSecret) string {
	ready := meta.FindStatusCondition(resource.Status.Conditions, v2beta1.ConditionReady)
	if ready == nil || ready.Status != metav1.ConditionFalse {
		return ""
	}
	return ready.Reason + ": " + ready.Message
}

// explainTimeout says why the controller has not answered the request, as far as the resource shows it.
func (r *refreshCommand) explainTimeout(resource *v2beta1.AzureKeyVaultSecret, key types.NamespacedName) error {
	if cause := failureOf(resource); cause != "" {
		return fault.NewWithNextStep(fault.Unavailable, "the controller retries it; wait longer with --timeout",
			"the vault was not read within %s: %s", r.timeout, cause)
	}
	next := "see its pods, for example with 'kubectl -n akv2k8s get pods', and whether it watches the namespace " +
		"(value watchAllNamespaces) and resources with these labels (controller.env.OBJECT_LABELS)"
	if resource.Spec.Output == nil {
		next += " and resources without output (controller.watchInjected)"
	}
	return fault.NewWithNextStep(fault.Unavailable, next, "no controller of akv2k8s 2.0 or later has answered the "+
		"request for AzureKeyVaultSecret %q within %s", key.Name, r.timeout)
}

// printOutcome prints what the refresh has changed, or returns the failure.
func (r *refreshCommand) printOutcome(before, after *v2beta1.AzureKeyVaultSecret) error {
	if cause := failureOf(after); cause != "" {
		return fmt.Errorf("the refresh of AzureKeyVaultSecret %q failed: %s", after.Name, cause)
	}
	was, is := before.Status.VaultVersion, after.Status.VaultVersion
	outcome := "version " + is + ", unchanged"
	switch {
	case is == "" && after.Status.LastAzureUpdate.Equal(before.Status.LastAzureUpdate):
		outcome = "its objects are unchanged"
	case is == "":
		outcome = "its objects have changed"
	case was == "":
		outcome = "version " + is
	case was != is:
		outcome = fmt.Sprintf("version %s, before %s", is, was)
	}
	fmt.Fprintf(r.streams.Out, "azurekeyvaultsecret/%s refreshed: %s\n", after.Name, outcome)
	return nil
}
