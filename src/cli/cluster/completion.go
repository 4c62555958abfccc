package cluster

import (
	"context"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/cli/cmdutil"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// completeContexts completes the name of a context.
func (f *Flags) completeContexts(_ *cobra.Command, _ []string, typed string) ([]string,
	cobra.ShellCompDirective) {
	raw, err := f.config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return cmdutil.WithPrefix(slices.Sorted(maps.Keys(raw.Contexts)), typed), cobra.ShellCompDirectiveNoFileComp
}

// completeNamespaces completes the name of a namespace.
func (f *Flags) completeNamespaces(cmd *cobra.Command, _ []string, typed string) ([]string,
	cobra.ShellCompDirective) {
	return f.completeNames(cmd.Context(), typed, schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}),
		cobra.ShellCompDirectiveNoFileComp
}

// CompleteResources completes the name of an AzureKeyVaultSecret.
func (f *Flags) CompleteResources(cmd *cobra.Command, _ []string, typed string) ([]string,
	cobra.ShellCompDirective) {
	return f.completeNames(cmd.Context(), typed, v2beta1.GroupVersion().WithKind(wire.Kind)),
		cobra.ShellCompDirectiveNoFileComp
}

// completeNames returns the names of the objects of a kind that begin with a text, in the namespace of the flags. It
// waits at most limits.CompletionTimeout for at most limits.CompletionNames names, and returns none if that fails: a
// message would break the user's command line.
func (f *Flags) completeNames(ctx context.Context, typed string, kind schema.GroupVersionKind) []string {
	ctx, cancel := CompletionContext(ctx)
	defer cancel()
	c, err := f.Connect()
	if err != nil {
		return nil
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	options := []client.ListOption{client.Limit(limits.CompletionNames)}
	if kind.Kind != "Namespace" {
		options = append(options, client.InNamespace(c.Namespace))
	}
	if err := c.Client.List(ctx, list, options...); err != nil {
		return nil
	}
	var names []string
	for _, object := range list.Items {
		names = append(names, object.Name)
	}
	return cmdutil.WithPrefix(names, typed)
}

// CompletePods completes the name of a pod.
func (f *Flags) CompletePods(cmd *cobra.Command, _ []string, typed string) ([]string,
	cobra.ShellCompDirective) {
	return f.completeNames(cmd.Context(), typed, schema.GroupVersionKind{Version: "v1", Kind: "Pod"}),
		cobra.ShellCompDirectiveNoFileComp
}

// CompletionContext returns the context of the requests of one completion.
func CompletionContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, limits.CompletionTimeout)
}
