package exec

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
	"k8s.io/kubectl/pkg/util/interrupt"
	"k8s.io/kubectl/pkg/util/term"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/akv2k8s/akv2k8s/src/cli/cluster"
	"github.com/akv2k8s/akv2k8s/src/cli/cmdutil"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/webhook/injected"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

const execLong = `Run a command in a container, with the values of the vault in its environment.

kubectl exec starts commands with the environment of the pod, in which variables have references such as
db@azurekeyvault. This command starts them by the injector of the container, which resolves the references first, as
for the program of the container. If the kubelet has set the values (akv2k8s.io/delivery: envfile), the injector is not
needed, and the command is run as by kubectl exec.

Without --container, the command runs in the container that the annotation kubectl.kubernetes.io/default-container
names, or in the first one that is injected.

The exit code is that of the command. If the references cannot be resolved, it is that of the injector, from 64 to 77,
and the message says why. A user who can run commands in a pod can read its values, with this command or without.`

const execExample = `  # See one variable of the program
  kubectl akv2k8s exec shop-7d4b9 -- printenv DB_PASSWORD

  # A shell in which every reference is resolved
  kubectl akv2k8s exec -it shop-7d4b9 -c app -- sh

  # A script from standard input
  kubectl akv2k8s exec -i shop-7d4b9 -- psql < migration.sql`

// execCommand is the command exec.
type execCommand struct {
	streams    genericiooptions.IOStreams
	cluster    *cluster.Flags
	container  string
	stdin, tty bool
}

func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	e := &execCommand{streams: streams}
	cmd := &cobra.Command{Use: "exec POD [-c CONTAINER] [-i] [-t] -- COMMAND [ARGUMENT...]",
		Short: "Run a command in a container with the values of its references", DisableFlagsInUseLine: true,
		Long: execLong, Example: execExample,
		RunE: func(cmd *cobra.Command, args []string) error { return e.run(cmd.Context(), cmd.ArgsLenAtDash(), args) }}
	e.cluster = cluster.AddFlags(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&e.container, "container", "c", "", "`CONTAINER` in which the command runs.")
	flags.BoolVarP(&e.stdin, "stdin", "i", false, "Pass standard input to the command.")
	flags.BoolVarP(&e.tty, "tty", "t", false, "Give the command a terminal.")
	cmd.ValidArgsFunction = cmdutil.FirstArgument(e.cluster.CompletePods)
	cmdutil.RegisterCompletion(cmd, "container", e.completeContainers)
	return cmd
}

// completeContainers completes the name of an injected container of the pod.
func (e *execCommand) completeContainers(cmd *cobra.Command, args []string, typed string) ([]string,
	cobra.ShellCompDirective) {
	c, err := e.cluster.Connect()
	if err != nil || len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := cluster.CompletionContext(cmd.Context())
	defer cancel()
	pod, err := c.GetPod(ctx, args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return cmdutil.WithPrefix(injectedContainers(pod), typed), cobra.ShellCompDirectiveNoFileComp
}

func (e *execCommand) run(ctx context.Context, dash int, args []string) error {
	if dash != 1 || len(args) < 2 {
		return cmdutil.UsageErrorf("name one pod, and after two dashes the command, such as " +
			"'kubectl akv2k8s exec POD -- printenv NAME'")
	}
	c, err := e.cluster.Connect()
	if err != nil {
		return err
	}
	pod, err := c.GetPod(ctx, args[0])
	if err != nil {
		return err
	}
	container, err := e.chooseContainer(pod)
	if err != nil {
		return err
	}
	command := args[1:]
	if injected.DeliveryOf(container) == injected.ByInjector {
		command = slices.Concat([]string{wire.InjectorPath}, command)
	}
	return e.streamCommand(ctx, c, pod, &corev1.PodExecOptions{Container: container.Name, Command: command})
}

// injectedContainers returns the names of the injected containers of a pod.
func injectedContainers(pod *corev1.Pod) []string {
	var names []string
	for _, c := range injected.Containers(pod) {
		if injected.DeliveryOf(c) != injected.None {
			names = append(names, c.Name)
		}
	}
	return names
}

// chooseContainer returns the container in which the command runs: it is injected, and it runs.
func (e *execCommand) chooseContainer(pod *corev1.Pod) (corev1.Container, error) {
	names := injectedContainers(pod)
	if len(names) == 0 {
		return corev1.Container{}, fault.NewWithNextStep(fault.Invalid,
			fmt.Sprintf("see why with 'kubectl akv2k8s explain pod/%s -n %s', or use kubectl exec", pod.Name,
				pod.Namespace),
			"no container of pod %q is injected", pod.Name)
	}
	all := injected.Containers(pod)
	name := cmp.Or(e.container, pod.Annotations["kubectl.kubernetes.io/default-container"])
	if name == "" {
		name = firstMainContainer(pod, names)
		if len(names) > 1 {
			fmt.Fprintf(e.streams.ErrOut, "Using container %q of the injected ones: %s\n", name,
				strings.Join(names, ", "))
		}
	}
	at := slices.IndexFunc(all, func(c corev1.Container) bool { return c.Name == name })
	switch {
	case at < 0:
		return corev1.Container{}, fault.NewWithNextStep(fault.Invalid, "name another one with --container",
			"pod %q has no container %q; these are injected: %s", pod.Name, name, strings.Join(names, ", "))
	case !slices.Contains(names, name):
		return corev1.Container{}, fault.NewWithNextStep(fault.Invalid, "name another one with --container, or use "+
			"kubectl exec", "container %q of pod %q is not injected; these are: %s", name, pod.Name,
			strings.Join(names, ", "))
	}
	return all[at], checkRunning(pod, name)
}

// firstMainContainer returns the first of the named containers that is not an init container, or else the first one.
func firstMainContainer(pod *corev1.Pod, names []string) string {
	for _, c := range pod.Spec.Containers {
		if slices.Contains(names, c.Name) {
			return c.Name
		}
	}
	return names[0]
}

// checkRunning returns an error if a container does not run.
func checkRunning(pod *corev1.Pod, container string) error {
	next := fmt.Sprintf("see why with 'kubectl -n %s describe pod %s'", pod.Namespace, pod.Name)
	for _, status := range slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses,
		pod.Status.EphemeralContainerStatuses) {
		switch state := status.State; {
		case status.Name != container:
		case state.Running != nil:
			return nil
		case state.Terminated != nil:
			return fault.NewWithNextStep(fault.Invalid, next, "container %q has ended with exit code %d", container,
				state.Terminated.ExitCode)
		case state.Waiting != nil && state.Waiting.Reason != "":
			return fault.NewWithNextStep(fault.Invalid, next, "container %q does not run: %s", container,
				state.Waiting.Reason)
		}
	}
	return fault.NewWithNextStep(fault.Invalid, next, "container %q does not run: the pod is %s", container,
		cmp.Or(string(pod.Status.Phase), "unknown"))
}

// streamCommand runs the command and connects its streams.
func (e *execCommand) streamCommand(ctx context.Context, c *cluster.Connection, pod *corev1.Pod,
	options *corev1.PodExecOptions) error {
	terminal := term.TTY{In: e.streams.In, Out: e.streams.Out, Raw: true,
		Parent: interrupt.New(func(os.Signal) {})} // main ends the program
	if e.tty && (!e.stdin || !terminal.IsTerminalIn()) {
		fmt.Fprintln(e.streams.ErrOut, "The command gets no terminal, because standard input is not one, or --stdin "+
			"is missing.")
		e.tty = false
	}
	options.Stdin, options.Stdout, options.Stderr, options.TTY = e.stdin, true, !e.tty, e.tty
	streams := remotecommand.StreamOptions{Stdout: e.streams.Out, Tty: e.tty}
	if e.stdin {
		streams.Stdin = e.streams.In
	}
	if !e.tty {
		streams.Stderr = e.streams.ErrOut
	}
	executor, err := newExecutor(c, pod, options)
	if err != nil {
		return err
	}
	runCommand := func() error { return executor.StreamWithContext(ctx, streams) }
	if e.tty {
		if sizes := terminal.MonitorSize(terminal.GetSize()); sizes != nil {
			streams.TerminalSizeQueue = terminalSizes{sizes}
		}
		return explainExecError(terminal.Safe(runCommand))
	}
	return explainExecError(runCommand())
}

// terminalSizes passes on the sizes of the terminal.
type terminalSizes struct{ from term.TerminalSizeQueue }

// Next implements remotecommand.TerminalSizeQueue.
func (s terminalSizes) Next() *remotecommand.TerminalSize {
	size := s.from.Next()
	if size == nil {
		return nil
	}
	return &remotecommand.TerminalSize{Width: size.Width, Height: size.Height}
}

// newExecutor returns an executor that uses WebSockets, or SPDY if the API server or a proxy does not know them.
func newExecutor(c *cluster.Connection, pod *corev1.Pod, options *corev1.PodExecOptions) (remotecommand.Executor,
	error) {
	config := rest.CopyConfig(c.Config)
	config.Timeout = 0 // the command can take any time
	url := c.Core.RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).
		SubResource("exec").VersionedParams(options, clientgoscheme.ParameterCodec).URL()
	query := url.Query()
	query.Del("timeout")
	url.RawQuery = query.Encode()
	spdy, err := remotecommand.NewSPDYExecutor(config, "POST", url)
	if err != nil {
		return nil, err
	}
	websocket, err := remotecommand.NewWebSocketExecutor(config, "GET", url.String())
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(websocket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}

// explainExecError returns the exit code of the command as a cmdutil.ExitError, and adds the next step to other
// errors.
func explainExecError(err error) error {
	var exit utilexec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return cmdutil.ExitError{Code: exit.ExitStatus()}
	}
	// The executors keep only the text of the API server's answer.
	if err != nil && strings.Contains(err.Error(), "is forbidden") {
		return &fault.Error{Kind: fault.Denied, Cause: err,
			Next: "ask for a Role with the verb create (and get) for pods/exec"}
	}
	return cluster.ExplainError(err)
}
