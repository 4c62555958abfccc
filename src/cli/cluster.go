package cli

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/version"
)

// clusterFlags are kubectl's flags that select a cluster, a user and a namespace.
type clusterFlags struct {
	config *genericclioptions.ConfigFlags
	// allNamespaces is the flag -A, if the command has it.
	allNamespaces bool
}

// addClusterFlags adds kubectl's cluster flags to a command, with completion. The help shows only the common ones.
func addClusterFlags(cmd *cobra.Command) *clusterFlags {
	f := &clusterFlags{config: genericclioptions.NewConfigFlags(true)}
	f.config.CacheDir = nil // nothing is cached on disk
	f.config.Timeout = ptr.To(limits.ClusterRequestTimeout.String())
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.config.AddFlags(own)
	texts := map[string]string{
		"kubeconfig":      "`FILE` with the clusters and users. By default that of KUBECONFIG, or ~/.kube/config.",
		"context":         "`CONTEXT` of the kubeconfig, that is its cluster, user and namespace.",
		"namespace":       "`NAMESPACE` to use. By default that of the context.",
		"as":              "`USER` to impersonate, such as system:serviceaccount:NAMESPACE:NAME.",
		"request-timeout": "`DURATION` after which a request fails, such as 10s. 0 means that it never does.",
	}
	own.VisitAll(func(flag *pflag.Flag) {
		text, common := texts[flag.Name]
		flag.Hidden = !common
		if common {
			flag.Usage = text
		}
	})
	cmd.Flags().AddFlagSet(own)
	registerCompletion(cmd, "context", f.completeContexts)
	registerCompletion(cmd, "namespace", f.completeNamespaces)
	return f
}

// addAllNamespaces adds the flag -A.
func (f *clusterFlags) addAllNamespaces(flags *pflag.FlagSet) {
	flags.BoolVarP(&f.allNamespaces, "all-namespaces", "A", false, "Use all namespaces.")
}

// cluster is a connection to the API server with the user's rights. Creating it sends no request.
type cluster struct {
	// config is for clients of other kinds. Requests have the timeout of --request-timeout.
	config *rest.Config
	// client reads and writes objects of Kubernetes and AzureKeyVaultSecrets, without a cache. A LIST of it is not
	// paged: use listPages.
	client client.Client
	// watcher is a client whose requests end with their context only.
	watcher client.WithWatch
	// kubernetes has what client lacks: logs, subresources, and the version of the server.
	kubernetes kubernetes.Interface
	// namespace is that of --namespace or of the context.
	namespace string
	// allNamespaces says that -A is set.
	allNamespaces bool
}

// newScheme has the kinds that client and watcher know.
func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), v2beta1.AddToScheme(scheme))
}

// connect returns a connection to the cluster that the flags select.
func (f *clusterFlags) connect() (*cluster, error) {
	config, err := f.restConfig()
	if err != nil {
		return nil, err
	}
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	c := &cluster{config: config, allNamespaces: f.allNamespaces}
	if c.namespace, _, err = f.config.ToRawKubeConfigLoader().Namespace(); err != nil {
		return nil, explainConfigError(err)
	}
	if c.client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, explainClusterError(err)
	}
	endless := rest.CopyConfig(config)
	endless.Timeout = 0
	if c.watcher, err = client.NewWithWatch(endless, client.Options{Scheme: scheme}); err != nil {
		return nil, explainClusterError(err)
	}
	c.kubernetes, err = kubernetes.NewForConfig(config)
	return c, err
}

// restConfig returns the connection's configuration.
func (f *clusterFlags) restConfig() (*rest.Config, error) {
	loader := f.config.ToRawKubeConfigLoader()
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, explainConfigError(err)
	}
	if name := *f.config.Context; name != "" && raw.Contexts[name] == nil {
		return nil, fault.NewWithNextStep(fault.Invalid, "list the contexts with 'kubectl config get-contexts'",
			"the kubeconfig has no context %q", name)
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, explainConfigError(err)
	}
	// Without a kubeconfig, kubectl's default is a server on this machine, which hardly any machine has.
	if len(raw.Clusters) == 0 && config.Host == "http://localhost:8080" && *f.config.APIServer == "" {
		return nil, noKubeconfigError()
	}
	config.QPS, config.Burst = limits.ClusterQPS, limits.ClusterBurst
	config.UserAgent = "kubectl-akv2k8s/" + version.String()
	return config, nil
}

// listNamespace returns the namespace to list: "" with -A.
func (c *cluster) listNamespace() string {
	if c.allNamespaces {
		return ""
	}
	return c.namespace
}

// listPages reads a list in pages and calls visit with each. It stops without an error after limits.ClusterListItems
// objects, and then returns false. list is reused for the pages.
func listPages(ctx context.Context, from client.Reader, list client.ObjectList, visit func() error,
	options ...client.ListOption) (complete bool, err error) {
	seen := 0
	for next := ""; ; {
		page := append(slices.Clone(options), client.Limit(limits.ClusterListPage), client.Continue(next))
		if err := from.List(ctx, list, page...); err != nil {
			return false, explainClusterError(err)
		}
		if err := visit(); err != nil {
			return false, err
		}
		seen += meta.LenList(list)
		next = list.GetContinue()
		switch {
		case next == "":
			return true, nil
		case seen >= limits.ClusterListItems:
			return false, nil
		}
	}
}
