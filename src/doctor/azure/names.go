package azure

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/diagnosis"
	"github.com/akv2k8s/akv2k8s/src/doctor"
)

// checkNames resolves the name of each vault, and returns which vaults have an address.
func (k *Checker) checkNames(ctx context.Context, items []item) (map[string]bool, []doctor.Finding) {
	reachable := map[string]bool{}
	var found []doctor.Finding
	for _, i := range items {
		vault := strings.ToLower(i.ref.Vault)
		if _, known := reachable[vault]; known {
			continue
		}
		f := k.checkName(ctx, vault)
		f.Category, f.Check = categoryVaults, checkNames
		reachable[vault] = f.Severity != doctor.Error
		found = append(found, f)
	}
	return reachable, found
}

func (k *Checker) hostOf(vault string) string { return vault + "." + k.config.Cloud.VaultSuffix }

// zone is the private DNS zone of the cloud's vaults.
func (k *Checker) zone() string {
	return "privatelink.vaultcore." + strings.TrimPrefix(k.config.Cloud.VaultSuffix, "vault.")
}

func (k *Checker) checkName(ctx context.Context, vault string) doctor.Finding {
	host := k.hostOf(vault)
	if k.config.ProxyOf != nil {
		if proxy := k.config.ProxyOf(host); proxy != "" {
			return doctor.Finding{Severity: doctor.OK, Object: "vault " + vault,
				What: host + " is reached through the proxy " + proxy}
		}
	}
	addresses, err := k.config.LookupHost(ctx, host)
	if err != nil || len(addresses) == 0 {
		return k.explainNoName(ctx, vault, err)
	}
	if isPrivate(addresses) {
		return doctor.Finding{Severity: doctor.OK, Object: "vault " + vault, What: fmt.Sprintf(
			"%s resolves to a private address, %s", host, addresses[0])}
	}
	return doctor.Finding{Severity: doctor.OK, Object: "vault " + vault, What: fmt.Sprintf(
		"%s resolves to a public address, %s", host, addresses[0])}
}

// explainNoName distinguishes a vault that does not exist from a DNS that does not answer. Azure has a name for each
// vault, so a linked private zone without a record has the same effect as a vault that does not exist.
func (k *Checker) explainNoName(ctx context.Context, vault string, err error) doctor.Finding {
	host := k.hostOf(vault)
	facts := diagnosis.Facts{"host": host, "zone": k.zone()}
	var dns *net.DNSError
	notFound := errors.As(err, &dns) && dns.IsNotFound
	login, parseErr := url.Parse(k.config.Cloud.Authority)
	explained := diagnosis.Explain(diagnosis.Network, 0, diagnosis.DNSFailure, facts)
	command := "kubectl -n kube-system get pods -l k8s-app=kube-dns"
	if notFound && parseErr == nil {
		if other, err := k.config.LookupHost(ctx, login.Hostname()); err == nil && len(other) > 0 {
			explained = diagnosis.Explain(diagnosis.Vault, 0, diagnosis.NoSuchVault, facts)
			command = `az keyvault list --query "[].name" --output tsv`
		}
	}
	f := doctor.FromError("vault "+vault, explained)
	f.Command = command
	return f
}

// isPrivate reports whether all addresses are private ones, as those of private endpoints.
func isPrivate(addresses []string) bool {
	for _, text := range addresses {
		address, err := netip.ParseAddr(text)
		if err != nil || !address.IsPrivate() {
			return false
		}
	}
	return len(addresses) > 0
}
