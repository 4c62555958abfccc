package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/azure"
	"github.com/akv2k8s/akv2k8s/src/doctor/findinglog"
	"github.com/akv2k8s/akv2k8s/src/keyvault/serviceaccount"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/program"
)

// The vault client has what the checks need.
var _ azure.Vaults = (*vaultclient.Client)(nil)

// checkAzureFlags select the resources.
type checkAzureFlags struct{ namespace, resource string }

// newCheckAzureCommand returns the subcommand that kubectl akv2k8s doctor --azure runs in a Job. It reads what the
// controller reads, with the controller's settings, and prints findings as lines of JSON.
func newCheckAzureCommand(s *settings) *cobra.Command {
	f := &checkAzureFlags{}
	cmd := &cobra.Command{Use: "check-azure",
		Short: "check identities, vaults and vault objects; kubectl akv2k8s doctor --azure runs it",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.checkAzure(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		}}
	s.AddClusterFlags(cmd.Flags())
	s.AddFlags(cmd.Flags())
	cmd.Flags().StringVar(&f.namespace, "namespace", "", "check the resources of one `NAMESPACE` only")
	cmd.Flags().StringVar(&f.resource, "resource", "", "check one AzureKeyVaultSecret only, by `NAME`; needs "+
		"--namespace")
	return cmd
}

// checkAzure prints the findings. A fault of Azure is a finding and not an error.
func (s *settings) checkAzure(ctx context.Context, f *checkAzureFlags, stdout, stderr io.Writer) error {
	if f.resource != "" && f.namespace == "" {
		return program.UsageError{Cause: errors.New("--resource needs --namespace")}
	}
	ctx, cancel := context.WithTimeout(ctx, limits.DoctorAzureTime)
	defer cancel()
	logger, err := s.NewLogger(stderr)
	if err != nil {
		return err
	}
	vaults, err := s.NewVaults(logger, vaultCacheTime)
	if err != nil { // the settings themselves are wrong, which is the finding that the user needs
		finding := doctor.FromError("", err)
		finding.Category, finding.Check = "Azure: identity", "the settings of the installation are complete"
		return findinglog.Write(stdout, []doctor.Finding{finding})
	}
	live, err := s.newLiveClient()
	if err != nil {
		return err
	}
	if s.Identities.AllowServiceAccounts {
		accounts, err := serviceaccount.New(serviceaccount.Config{APIReader: live, TokenClient: live, Clock: time.Now})
		if err != nil {
			return err
		}
		vaults.Client.UseServiceAccounts(accounts)
	}
	resources, err := s.listResources(ctx, live, f)
	if err != nil {
		return err
	}
	clientID, _ := s.Environment.Lookup("AZURE_CLIENT_ID")
	checker, err := azure.New(azure.Config{Vaults: vaults.Client, Credential: vaults.Client.Credential,
		Cloud: vaults.Client.Cloud, ClientID: clientID, LookupHost: net.DefaultResolver.LookupHost,
		ProxyOf: proxyOf, Identities: s.Identities, Rules: s.Rules, Clock: time.Now})
	if err != nil {
		return err
	}
	return findinglog.Write(stdout, checker.Check(ctx, resources))
}

// proxyOf returns the host of the proxy that HTTPS_PROXY and NO_PROXY name for a host.
func proxyOf(host string) string {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: host}})
	if err != nil || proxy == nil {
		return ""
	}
	return proxy.Host
}

// newLiveClient returns a client without a cache.
func (s *settings) newLiveClient() (client.Client, error) {
	config, err := s.RESTConfig()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v2beta1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	live, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("finding the API server: %w", err)
	}
	return live, nil
}

// listResources returns the resources that the controller syncs, or those that the flags select.
func (s *settings) listResources(ctx context.Context, live client.Reader, f *checkAzureFlags) ([]azure.Resource,
	error) {
	selector, err := labels.Parse(s.objectLabels)
	if err != nil {
		return nil, fmt.Errorf("parsing OBJECT_LABELS: %w", err)
	}
	namespace := f.namespace
	if !s.WatchAll {
		namespace = cmp.Or(namespace, s.Namespace)
	}
	var found []azure.Resource
	for next := ""; ; {
		var list v2beta1.AzureKeyVaultSecretList
		if err := live.List(ctx, &list, client.InNamespace(namespace), client.Limit(limits.DoctorListPage),
			client.Continue(next), client.MatchingLabelsSelector{Selector: selector}); err != nil {
			return nil, fmt.Errorf("listing the AzureKeyVaultSecrets: %w", err)
		}
		for i := range list.Items {
			if f.resource != "" && !strings.EqualFold(f.resource, list.Items[i].Name) {
				continue
			}
			content, err := json.Marshal(&list.Items[i])
			if err != nil {
				return nil, fmt.Errorf("encoding an AzureKeyVaultSecret: %w", err)
			}
			found = append(found, azure.Resource{Namespace: list.Items[i].Namespace, Name: list.Items[i].Name,
				JSON: content})
		}
		next = list.Continue
		if next == "" || len(found) >= limits.DoctorListItems {
			return found, nil
		}
	}
}
