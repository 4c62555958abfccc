package get

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/cli/cluster"
	"github.com/akv2k8s/akv2k8s/src/cli/cmdutil"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

const getLong = `List AzureKeyVaultSecrets, with the vault object that each of them reads, and whether it is ready.

  READY     True if the outputs have the value of the vault, or pods can get it. Otherwise the reason, such as
            AccessDenied; 'kubectl akv2k8s explain akvs/NAME' says what to do.
  VERSION   version of the vault object that was read last, without its end
  EXPIRES   date on which that version expires

No value of a vault is read or printed.`

const getExample = `  # The resources of the namespace of the context
  kubectl akv2k8s get

  # Those of all namespaces that are not ready
  kubectl akv2k8s get -A | grep -v ' True '

  # With type, outputs and messages
  kubectl akv2k8s get -o wide

  # Follow the resources of an application
  kubectl akv2k8s get -l app=shop --watch

  # The versions, for a script
  kubectl akv2k8s get -o jsonpath='{range .items[*]}{.metadata.name} {.status.vaultVersion}{"\n"}{end}'`

// getCommand is the command get.
type getCommand struct {
	streams  genericiooptions.IOStreams
	cluster  *cluster.Flags
	output   string
	selector string
	watch    bool
}

func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	g := &getCommand{streams: streams}
	cmd := &cobra.Command{Use: "get [NAME...]", Short: "List AzureKeyVaultSecrets", DisableFlagsInUseLine: true,
		Long: getLong, Example: getExample,
		RunE: func(cmd *cobra.Command, args []string) error { return g.run(cmd.Context(), args) }}
	g.cluster = cluster.AddFlags(cmd)
	flags := cmd.Flags()
	g.cluster.AddAllNamespaces(flags)
	flags.StringVarP(&g.output, "output", "o", "",
		"`FORMAT` of the output: wide, json, yaml, name or jsonpath=TEMPLATE.")
	flags.StringVarP(&g.selector, "selector", "l", "", "`SELECTOR` of labels, such as app=shop,tier!=test.")
	flags.BoolVarP(&g.watch, "watch", "w", false, "Print further changes until the command is interrupted.")
	cmd.ValidArgsFunction = g.cluster.CompleteResources
	cmdutil.RegisterCompletion(cmd, "output", cobra.FixedCompletions([]string{"wide", "json", "yaml", "name",
		"jsonpath="}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// newResourceList is an empty list of AzureKeyVaultSecrets. They have no Go type, so that they keep fields that this
// version does not know.
func newResourceList() *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(v2beta1.GroupVersion().WithKind(wire.Kind + "List"))
	return list
}

func (g *getCommand) run(ctx context.Context, names []string) error {
	selector, err := labels.Parse(g.selector)
	switch {
	case err != nil:
		return cmdutil.UsageErrorf("--selector: %w", err)
	case len(names) > 0 && (g.cluster.AllNamespaces || g.selector != ""):
		return cmdutil.UsageErrorf("name resources, or select them with --all-namespaces and --selector, not both")
	case len(names) > 1 && g.watch:
		return cmdutil.UsageErrorf("--watch follows one resource or all; name at most one")
	}
	printer, err := g.newPrinter()
	if err != nil {
		return err
	}
	c, err := g.cluster.Connect()
	if err != nil {
		return err
	}
	list, err := g.read(ctx, c, names, selector)
	if err != nil {
		return err
	}
	if err := g.printAll(printer, list, c.ListNamespace(), len(names) == 1); err != nil {
		return err
	}
	if g.watch {
		return g.follow(ctx, c, printer, list, client.MatchingLabelsSelector{Selector: selector})
	}
	return nil
}

// newPrinter returns the printer of --output. It knows the formats of kubectl except those with Go templates: with the
// package text/template, the linker keeps all methods of all types, and the program would have 20 MB more.
func (g *getCommand) newPrinter() (printers.ResourcePrinter, error) {
	switch g.output {
	case "", "wide":
		return &resourceTable{wide: g.output == "wide", namespaces: g.cluster.AllNamespaces}, nil
	}
	for _, format := range []interface {
		ToPrinter(format string) (printers.ResourcePrinter, error)
	}{genericclioptions.NewJSONYamlPrintFlags(), genericclioptions.NewNamePrintFlags(""),
		&genericclioptions.JSONPathPrintFlags{}} {
		printer, err := format.ToPrinter(g.output)
		switch {
		case genericclioptions.IsNoCompatiblePrinterError(err):
		case err != nil:
			return nil, cmdutil.UsageErrorf("--output: %w", err)
		default:
			return printer, nil
		}
	}
	return nil, cmdutil.UsageErrorf("--output %q is not known; use wide, json, yaml, name or jsonpath=, or 'kubectl "+
		"get azurekeyvaultsecrets' for other formats", g.output)
}

// read reads the named resources, or the selected ones.
func (g *getCommand) read(ctx context.Context, c *cluster.Connection, names []string,
	selector labels.Selector) (*unstructured.UnstructuredList, error) {
	all := newResourceList()
	for _, name := range names {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(v2beta1.GroupVersion().WithKind(wire.Kind))
		key := types.NamespacedName{Namespace: c.Namespace, Name: name}
		if err := c.Client.Get(ctx, key, object); err != nil {
			return nil, cluster.ExplainResourceError(err, key)
		}
		all.Items = append(all.Items, *object)
		all.SetResourceVersion(object.GetResourceVersion())
	}
	if len(names) > 0 {
		return all, nil
	}
	page := newResourceList()
	complete, err := cluster.ListPages(ctx, c.Client, page, func() error {
		all.Items = append(all.Items, page.Items...)
		all.SetResourceVersion(page.GetResourceVersion())
		return nil
	}, client.InNamespace(c.ListNamespace()), client.MatchingLabelsSelector{Selector: selector})
	if err == nil && !complete {
		fmt.Fprintf(g.streams.ErrOut, "warning: only the first %s AzureKeyVaultSecrets are listed; select fewer with "+
			"--namespace or --selector\n", limits.Count(limits.ClusterListItems))
	}
	return all, err
}

// printAll prints resources: a table, a list, or the object itself if it is the only one that was asked for.
func (g *getCommand) printAll(printer printers.ResourcePrinter, list *unstructured.UnstructuredList, namespace string,
	single bool) error {
	if _, isTable := printer.(*resourceTable); isTable && len(list.Items) == 0 {
		if g.watch {
			return nil
		}
		where := "in namespace " + namespace
		if namespace == "" {
			where = "in any namespace"
		}
		fmt.Fprintf(g.streams.ErrOut, "No AzureKeyVaultSecrets found %s.\n", where)
		return nil
	}
	_, byName := printer.(*printers.NamePrinter)
	switch {
	case single:
		return printer.PrintObj(&list.Items[0], g.streams.Out)
	case byName:
		for i := range list.Items {
			if err := printer.PrintObj(&list.Items[i], g.streams.Out); err != nil {
				return err
			}
		}
		return nil
	}
	return printer.PrintObj(list, g.streams.Out)
}

// follow prints changes until the context ends.
func (g *getCommand) follow(ctx context.Context, c *cluster.Connection, printer printers.ResourcePrinter,
	list *unstructured.UnstructuredList, selected client.ListOption) error {
	options := []client.ListOption{client.InNamespace(c.ListNamespace()), selected}
	if len(list.Items) == 1 && g.selector == "" && !g.cluster.AllNamespaces {
		options = append(options, client.MatchingFields{"metadata.name": list.Items[0].GetName()})
	}
	source := &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context,
		from metav1.ListOptions) (watch.Interface, error) {
		return c.Watcher.Watch(ctx, newResourceList(), append(options, &client.ListOptions{Raw: &from})...)
	}}
	changes, err := watchtools.NewRetryWatcherWithContext(ctx, list.GetResourceVersion(), source)
	if err != nil {
		return cluster.ExplainError(err)
	}
	defer changes.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, open := <-changes.ResultChan():
			switch {
			case !open:
				return cluster.ExplainError(ctx.Err())
			case event.Type == watch.Error:
				return cluster.ExplainError(fmt.Errorf("the watch ended: %w; start it again",
					apierrors.FromObject(event.Object)))
			case event.Type == watch.Bookmark:
			default:
				if err := printer.PrintObj(event.Object, g.streams.Out); err != nil {
					return err
				}
			}
		}
	}
}

// resourceTable prints AzureKeyVaultSecrets as kubectl prints objects. In calls after the first one, columns keep their
// width and have no headings.
type resourceTable struct {
	wide, namespaces bool
	out              interface {
		io.Writer
		Flush() error
	}
}

// PrintObj implements printers.ResourcePrinter for a resource or a list of them.
func (t *resourceTable) PrintObj(object runtime.Object, out io.Writer) error {
	table := &metav1.Table{ColumnDefinitions: t.columns()}
	add := func(object runtime.Object) error {
		content, ok := object.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("the API server sent a %T in place of an AzureKeyVaultSecret", object)
		}
		table.Rows = append(table.Rows, t.row(content))
		return nil
	}
	var err error
	if list, ok := object.(*unstructured.UnstructuredList); ok {
		err = meta.EachListItem(list, add)
	} else {
		err = add(object)
	}
	if err != nil {
		return err
	}
	options := printers.PrintOptions{Wide: t.wide, WithNamespace: t.namespaces, NoHeaders: t.out != nil}
	if t.out == nil {
		t.out = printers.GetNewTabWriter(out)
	}
	if err := printers.NewTablePrinter(options).PrintObj(table, t.out); err != nil {
		return err
	}
	return t.out.Flush()
}

func (t *resourceTable) columns() []metav1.TableColumnDefinition {
	var all []metav1.TableColumnDefinition
	for _, name := range []string{"Name", "Vault", "Object", "Ready", "Version", "Expires", "Age"} {
		all = append(all, metav1.TableColumnDefinition{Name: name, Type: "string"})
	}
	for _, name := range []string{"Type", "Outputs", "Message"} {
		all = append(all, metav1.TableColumnDefinition{Name: name, Type: "string", Priority: 1})
	}
	return all
}

// row is the row of a resource. One that this version can't read has only its name.
func (t *resourceTable) row(content *unstructured.Unstructured) metav1.TableRow {
	row := metav1.TableRow{Object: runtime.RawExtension{Object: content}}
	var r v2beta1.AzureKeyVaultSecret
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content.Object, &r); err != nil {
		unknown := []any{content.GetName(), "<invalid>", "<invalid>", "Unknown", "", "", ageOf(content)}
		row.Cells = append(unknown, "", "", "")
		return row
	}
	ready, message := readiness(&r)
	expires := ""
	if r.Status.Expires != nil {
		expires = r.Status.Expires.UTC().Format(time.DateOnly)
	}
	object, kind := objectOf(&r)
	row.Cells = []any{r.Name, r.Spec.Vault.Name, object, ready, shortVersion(r.Status.VaultVersion), expires,
		ageOf(content), kind, strings.Join(outputsOf(&r), ","), message}
	return row
}

// ageOf is the age of an object.
func ageOf(object metav1.Object) string {
	created := object.GetCreationTimestamp()
	if created.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(time.Since(created.Time))
}

// objectOf returns the vault object of a resource and its type, or the number of its objects.
func objectOf(r *v2beta1.AzureKeyVaultSecret) (name, kind string) {
	if count := len(r.Spec.Data); count+len(r.Spec.DataFrom) > 0 {
		name = fmt.Sprintf("%d objects", count)
		if len(r.Spec.DataFrom) > 0 {
			name += fmt.Sprintf(", %d searches", len(r.Spec.DataFrom))
		}
		return name, "several"
	}
	return r.Spec.Vault.Object.Name, string(r.Spec.Vault.Object.Type)
}

// outputsOf returns the outputs of a resource, as KIND/NAME.
func outputsOf(r *v2beta1.AzureKeyVaultSecret) []string {
	var all []string
	if out := r.Spec.Output; out != nil && out.Secret != nil {
		all = append(all, "secret/"+out.Secret.Name)
	}
	if out := r.Spec.Output; out != nil && out.ConfigMap != nil {
		all = append(all, "configmap/"+out.ConfigMap.Name)
	}
	return slices.Clip(all)
}

// readiness returns True, or the reason why a resource is not ready, and the message. A condition of an older spec does
// not count.
func readiness(r *v2beta1.AzureKeyVaultSecret) (ready, message string) {
	condition := meta.FindStatusCondition(r.Status.Conditions, v2beta1.ConditionReady)
	switch {
	case condition == nil:
		return "Unknown", "the controller has not read it yet"
	case condition.ObservedGeneration != 0 && condition.ObservedGeneration != r.Generation:
		return "Unknown", "the controller has not read the last change of it yet"
	case condition.Status == metav1.ConditionTrue:
		return "True", condition.Message
	}
	return condition.Reason, condition.Message
}

// shortVersion is the beginning of a version, which is enough to tell versions apart.
func shortVersion(version string) string {
	const length = 12
	return version[:min(len(version), length)]
}
