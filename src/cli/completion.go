package cli

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// completeContexts completes the name of a context.
func (f *clusterFlags) completeContexts(_ *cobra.Command, _ []string, typed string) ([]string,
	cobra.ShellCompDirective) {
	raw, err := f.config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return withPrefix(slices.Sorted(maps.Keys(raw.Contexts)), typed), cobra.ShellCompDirectiveNoFileComp
}

// completeNamespaces completes the name of a namespace.
func (f *clusterFlags) completeNamespaces(cmd *cobra.Command, _ []string, typed string) ([]string,
	cobra.ShellCompDirective) {
	return f.completeNames(cmd.Context(), typed, schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}),
		cobra.ShellCompDirectiveNoFileComp
}

// completeResources completes the name of an AzureKeyVaultSecret.
func (f *clusterFlags) completeResources(cmd *cobra.Command, _ []string, typed string) ([]string,
	cobra.ShellCompDirective) {
	return f.completeNames(cmd.Context(), typed, v2beta1.GroupVersion().WithKind(wire.Kind)),
		cobra.ShellCompDirectiveNoFileComp
}

// completeNames returns the names of the objects of a kind that begin with a text, in the namespace of the flags. It
// waits at most limits.CompletionTimeout for at most limits.CompletionNames names, and returns none if that fails: a
// message would break the user's command line.
func (f *clusterFlags) completeNames(ctx context.Context, typed string, kind schema.GroupVersionKind) []string {
	ctx, cancel := completionContext(ctx)
	defer cancel()
	c, err := f.connect()
	if err != nil {
		return nil
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	options := []client.ListOption{client.Limit(limits.CompletionNames)}
	if kind.Kind != "Namespace" {
		options = append(options, client.InNamespace(c.namespace))
	}
	if err := c.client.List(ctx, list, options...); err != nil {
		return nil
	}
	var names []string
	for _, object := range list.Items {
		names = append(names, object.Name)
	}
	return withPrefix(names, typed)
}

// registerCompletion sets the completion of a flag that the command has.
func registerCompletion(cmd *cobra.Command, flag string, complete completer) {
	_ = cmd.RegisterFlagCompletionFunc(flag, complete) // fails only for a flag that does not exist
}

// withPrefix returns the names that begin with a text.
func withPrefix(names []string, typed string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, typed) })
}

// completer completes arguments or the value of a flag.
type completer = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective)

// firstArgument completes the first argument, and offers nothing for others.
func firstArgument(complete completer) completer {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, typed)
	}
}

// completionContext returns the context of the requests of one completion.
func completionContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, limits.CompletionTimeout)
}
