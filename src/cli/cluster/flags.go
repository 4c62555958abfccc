package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/cli/cmdutil"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/version"
)

// Flags are kubectl's flags that select a cluster, a user and a namespace.
type Flags struct {
	config *genericclioptions.ConfigFlags
	// AllNamespaces is the flag -A, if the command has it.
	AllNamespaces bool
}

// AddFlags adds kubectl's cluster flags to a command, with completion. The help shows only the common ones.
func AddFlags(cmd *cobra.Command) *Flags {
	f := &Flags{config: genericclioptions.NewConfigFlags(true)}
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
	cmdutil.RegisterCompletion(cmd, "context", f.completeContexts)
	cmdutil.RegisterCompletion(cmd, "namespace", f.completeNamespaces)
	return f
}

// AddAllNamespaces adds the flag -A.
func (f *Flags) AddAllNamespaces(flags *pflag.FlagSet) {
	flags.BoolVarP(&f.AllNamespaces, "all-namespaces", "A", false, "Use all namespaces.")
}

// Connection is a connection to the API server with the user's rights. Creating it sends no request.
type Connection struct {
	// Config is for clients of other kinds. Requests have the timeout of --request-timeout.
	Config *rest.Config
	// Client reads and writes objects of Kubernetes and AzureKeyVaultSecrets, without a cache. A LIST of it is not
	// paged: use ListPages.
	Client client.Client
	// Watcher is a client whose requests end with their context only.
	Watcher client.WithWatch
	// Core has what Client lacks: logs and exec. The clients of all groups would add 1 MB.
	Core typedcorev1.CoreV1Interface
	// Namespace is that of --namespace or of the context.
	Namespace string
	// AllNamespaces says that -A is set.
	AllNamespaces bool
}

// newScheme has the kinds that client and watcher know.
func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), v2beta1.AddToScheme(scheme))
}

// Connect returns a connection to the cluster that the flags select.
func (f *Flags) Connect() (*Connection, error) {
	config, err := f.restConfig()
	if err != nil {
		return nil, err
	}
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	c := &Connection{Config: config, AllNamespaces: f.AllNamespaces}
	if c.Namespace, _, err = f.config.ToRawKubeConfigLoader().Namespace(); err != nil {
		return nil, explainConfigError(err)
	}
	if c.Client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, ExplainError(err)
	}
	endless := rest.CopyConfig(config)
	endless.Timeout = 0
	if c.Watcher, err = client.NewWithWatch(endless, client.Options{Scheme: scheme}); err != nil {
		return nil, ExplainError(err)
	}
	c.Core, err = typedcorev1.NewForConfig(config)
	return c, err
}

// restConfig returns the connection's configuration.
func (f *Flags) restConfig() (*rest.Config, error) {
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

// NamespaceFlag returns the namespace of --namespace; empty if the flag is not set.
func (f *Flags) NamespaceFlag() string { return *f.config.Namespace }

// ListNamespace returns the namespace to list: "" with -A.
func (c *Connection) ListNamespace() string {
	if c.AllNamespaces {
		return ""
	}
	return c.Namespace
}

// ListPages reads a list in pages and calls visit with each. It stops without an error after limits.ClusterListItems
// objects, and then returns false. list is reused for the pages.
func ListPages(ctx context.Context, from client.Reader, list client.ObjectList, visit func() error,
	options ...client.ListOption) (complete bool, err error) {
	seen := 0
	for next := ""; ; {
		page := append(slices.Clone(options), client.Limit(limits.ClusterListPage), client.Continue(next))
		if err := from.List(ctx, list, page...); err != nil {
			return false, ExplainError(err)
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

// GetPod reads a pod, whose name can begin with pod/.
func (c *Connection) GetPod(ctx context.Context, name string) (*corev1.Pod, error) {
	for _, prefix := range []string{"pod/", "pods/", "po/"} {
		name = strings.TrimPrefix(name, prefix)
	}
	if name == "" || strings.Contains(name, "/") {
		return nil, cmdutil.UsageErrorf("%q is not the name of a pod; write POD or pod/POD", name)
	}
	pod, key := &corev1.Pod{}, types.NamespacedName{Namespace: c.Namespace, Name: name}
	err := c.Client.Get(ctx, key, pod)
	if apierrors.IsNotFound(err) {
		return nil, fault.NewWithNextStep(fault.NotFound, fmt.Sprintf("list them with 'kubectl -n %s get pods'",
			key.Namespace), "there is no pod %q in namespace %q", name, key.Namespace)
	}
	return pod, ExplainError(err)
}
