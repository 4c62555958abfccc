package azure

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/diagnosis"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// Placeholders of commands, for what is not known here.
const (
	principalPlaceholder = "OBJECT-ID"
	addressPlaceholder   = "ADDRESS"
	clientPlaceholder    = "CLIENT-ID"
)

// Changes of an object's attributes.
const (
	enable       = "--enabled true"
	notBeforeNow = `--not-before "$(date -u +%Y-%m-%dT%H:%M:%SZ)"`
)

// command returns the az command that mends the fault of a read; empty if there is none. Names of vaults and objects
// are valid ones, and ids and addresses have been checked, so that the command can be pasted into a shell.
func (k *Checker) command(e *diagnosis.Explained, ref keyvault.Ref) string {
	if e.Source == diagnosis.Entra || e.Source == diagnosis.Metadata {
		return signInCommand(e, k.config.ClientID)
	}
	if e.Source == diagnosis.Network && e.Code == diagnosis.NameNotFound {
		return linkCommand(k.zone())
	}
	if e.Source != diagnosis.Vault {
		return ""
	}
	if command := attributeCommandOf(e.Code, ref); command != "" {
		return command
	}
	return k.accessCommand(e, ref)
}

// attributeCommandOf returns the command for an object whose attributes are wrong; empty for other answers.
func attributeCommandOf(code string, ref keyvault.Ref) string {
	switch code {
	case "SecretDisabled", "KeyDisabled":
		return attributesCommand(ref, enable)
	case "SecretNotYetValid":
		return attributesCommand(ref, notBeforeNow)
	case "SecretExpired":
		return newVersionCommand(ref)
	}
	return ""
}

// accessCommand returns the command for an answer about rights, the network, or an object that is missing.
func (k *Checker) accessCommand(e *diagnosis.Explained, ref keyvault.Ref) string {
	vault, kind := strings.ToLower(ref.Vault), kindOfItems(ref.Kind)
	switch e.Code {
	case "ForbiddenByPolicy", "AccessDenied":
		return fmt.Sprintf("az keyvault set-policy --name %s --object-id %s --%s-permissions %s", vault,
			k.principal(e, ref), kind, permissionsOf(ref.Kind))
	case "ForbiddenByFirewall":
		return fmt.Sprintf("az keyvault network-rule add --name %s --ip-address %s", vault, addressOf(e))
	case "ForbiddenByConnection":
		return linkCommand(k.zone())
	case diagnosis.OtherType:
		return fmt.Sprintf("az keyvault %s show --vault-name %s --name %s --query id --output tsv", e.Facts["other"],
			vault, ref.Name)
	}
	switch e.Status {
	case http.StatusUnauthorized:
		return tenantCommand(vault)
	case http.StatusForbidden:
		return fmt.Sprintf("az role assignment create --role %q --assignee-object-id %s --assignee-principal-type "+
			`ServicePrincipal --scope "$(az keyvault show --name %s --query id --output tsv)"`, ref.Kind.RequiredRole(),
			k.principal(e, ref), vault)
	case http.StatusNotFound:
		return fmt.Sprintf(`az keyvault %s list --vault-name %s --query "[].name" --output tsv`, kind, vault)
	}
	return ""
}

// tenantCommand shows the tenant of a vault.
func tenantCommand(vault string) string {
	return fmt.Sprintf("az keyvault show --name %s --query properties.tenantId --output tsv", vault)
}

// principal returns the object id that the vault named, else the one of the installation.
func (k *Checker) principal(e *diagnosis.Explained, ref keyvault.Ref) string {
	own := ""
	if ref.Identity == (keyvault.Identity{}) {
		own = k.objectID
	}
	return cmp.Or(validID(e.Facts["objectID"]), own, principalPlaceholder)
}

func validID(id string) string {
	if idPattern.MatchString(id) {
		return id
	}
	return ""
}

// addressOf returns the address that the firewall denied.
func addressOf(e *diagnosis.Explained) string {
	if address, err := netip.ParseAddr(e.Facts["address"]); err == nil {
		return address.String()
	}
	return addressPlaceholder
}

// permissionsOf returns the permissions of an access policy that a read needs.
func permissionsOf(kind keyvault.Kind) string {
	if kind.ItemKind() != "" {
		return "get list"
	}
	return "get"
}

func linkCommand(zone string) string {
	return "az network private-dns link vnet create --resource-group GROUP-OF-THE-ZONE --zone-name " + zone +
		" --name akv2k8s --virtual-network ID-OF-THE-NETWORK --registration-enabled false"
}

func attributesCommand(ref keyvault.Ref, change string) string {
	text := fmt.Sprintf("az keyvault %s set-attributes --vault-name %s --name %s %s", ref.Kind,
		strings.ToLower(ref.Vault),
		ref.Name, change)
	if ref.Version != "" {
		text += " --version " + ref.Version
	}
	return text
}

func newVersionCommand(ref keyvault.Ref) string {
	switch ref.Kind {
	case keyvault.KindCertificate:
		return fmt.Sprintf("az keyvault certificate import --vault-name %s --name %s --file FILE",
			strings.ToLower(ref.Vault), ref.Name)
	case keyvault.KindKey:
		return fmt.Sprintf("az keyvault key rotate --vault-name %s --name %s", strings.ToLower(ref.Vault), ref.Name)
	case keyvault.KindSecret, keyvault.KindSecretList, keyvault.KindCertificateList, keyvault.KindKeyList:
	}
	return fmt.Sprintf("az keyvault secret set --vault-name %s --name %s --file FILE", strings.ToLower(ref.Vault),
		ref.Name)
}

// identityCommand returns the command for an answer of the metadata service. All but one, that the identity is not
// assigned, are faults of the node or of the settings.
func identityCommand(e *diagnosis.Explained) string {
	if e.Status != http.StatusBadRequest || e.Code != "" {
		return ""
	}
	return "az vmss identity assign --resource-group NODE-GROUP --name SCALE-SET --identities ID-OF-THE-IDENTITY"
}

// signInCommand returns the command that mends a failed sign-in, or shows what is wrong; empty if there is none.
func signInCommand(e *diagnosis.Explained, clientID string) string {
	client := cmp.Or(validID(clientID), clientPlaceholder)
	if e.Source == diagnosis.Metadata {
		return identityCommand(e)
	}
	number := strings.TrimPrefix(e.Code, "AADSTS")
	switch {
	case number == "7000215" || number == "7000222":
		return "az ad app credential reset --append --id " + client
	case number == "7000229":
		return "az ad sp create --id " + client
	case number == "7000112":
		return "az ad sp update --id " + client + " --set accountEnabled=true"
	case number == "700027":
		return "az ad app credential reset --append --cert @CERTIFICATE.pem --id " + client
	case number == "700016":
		return "az ad app show --id " + client
	case number == "90002" || number == "900023":
		return "az account show --query tenantId --output tsv"
	case slices.Contains([]string{"70021", "700211", "700212", "7002121", "700213", "7002138"}, number):
		return "az identity federated-credential create --name akv2k8s --identity-name IDENTITY --resource-group " +
			"GROUP " +
			`--issuer "$(az aks show --name CLUSTER --resource-group GROUP --query oidcIssuerProfile.issuerUrl --output tsv)" ` +
			"--subject system:serviceaccount:NAMESPACE:NAME --audiences api://AzureADTokenExchange"
	}
	return ""
}
