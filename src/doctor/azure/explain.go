package azure

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/diagnosis"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// explainFailure returns the finding for a failed read.
func (k *Checker) explainFailure(ctx context.Context, i item, err error) doctor.Finding {
	f := doctor.FromError(objectOf(i), err)
	vault := strings.ToLower(i.ref.Vault)
	var explained *diagnosis.Explained
	if !errors.As(err, &explained) {
		return explainUnlisted(f, vault, err)
	}
	// A cause that is the same for several objects has the same text, so that the findings are merged.
	if isOfVault(explained) {
		f.What = fmt.Sprintf("vault %q: %s", vault, explained.Error())
	} else if fault.KindOf(err) == fault.Denied {
		f.What = fmt.Sprintf("%ss of vault %q: %s", kindOfItems(i.ref.Kind), vault, explained.Error())
	}
	f.Command = k.command(explained, i.ref)
	if needsAddress(explained) {
		f.Why = k.explainAddress(ctx, vault)
	}
	if fault.KindOf(err) == fault.NotFound && explained.Code != diagnosis.OtherType {
		return k.explainDeleted(ctx, f, i.ref)
	}
	return f
}

// explainUnlisted completes the finding for an error that is not an answer, such as that the vault belongs to another
// tenant than the credential.
func explainUnlisted(f doctor.Finding, vault string, err error) doctor.Finding {
	var e *fault.Error
	if errors.As(err, &e) && e.Kind == fault.Unauthenticated && e.Cause != nil {
		f.What = fmt.Sprintf("vault %q: %s", vault, fault.CauseOf(e.Cause))
		f.Command = tenantCommand(vault)
	}
	return f
}

// needsAddress reports whether the address of the vault helps to explain an answer.
func needsAddress(e *diagnosis.Explained) bool {
	return e.Source == diagnosis.Vault && e.Code == "ForbiddenByConnection" ||
		e.Source == diagnosis.Network && e.Code == diagnosis.Timeout
}

// explainDeleted completes the finding for an object that was deleted, and returns that of a missing one unchanged.
func (k *Checker) explainDeleted(ctx context.Context, f doctor.Finding, ref keyvault.Ref) doctor.Finding {
	if deleted, err := k.config.Vaults.IsDeleted(ctx, ref); err != nil || !deleted {
		return f
	}
	f.What = fmt.Sprintf("%s was deleted, and can be recovered", ref)
	f.Try = "recover it, or create it again after it was purged"
	f.Command = fmt.Sprintf("az keyvault %s recover --vault-name %s --name %s", kindOfItems(ref.Kind),
		strings.ToLower(ref.Vault), ref.Name)
	return f
}

// isOfVault reports whether an answer is about the vault or the identity, and not about an object.
func isOfVault(e *diagnosis.Explained) bool {
	switch e.Source {
	case diagnosis.Network, diagnosis.Intermediary, diagnosis.Entra, diagnosis.Metadata:
		return true
	case diagnosis.Vault, diagnosis.Registry:
	}
	return e.Code == "ForbiddenByFirewall" || e.Code == "ForbiddenByConnection" || e.Code == diagnosis.NoSuchVault ||
		e.Status == 401 || e.Status == 429 || e.Status >= 500
}

// explainAddress says how the vault's name resolves here, from which a wrong DNS zone can be recognized.
func (k *Checker) explainAddress(ctx context.Context, vault string) string {
	addresses, err := k.config.LookupHost(ctx, k.hostOf(vault))
	switch {
	case err != nil || len(addresses) == 0:
		return ""
	case isPrivate(addresses):
		return fmt.Sprintf("%s resolves to the private address %s: its private endpoint is not approved, is another "+
			"vault's, or can't be reached from this network", k.hostOf(vault), addresses[0])
	}
	return fmt.Sprintf("%s resolves to the public address %s here", k.hostOf(vault), addresses[0])
}

// kindOfItems returns the kind of objects of a reference, also of a list.
func kindOfItems(kind keyvault.Kind) keyvault.Kind {
	if listed := kind.ItemKind(); listed != "" {
		return listed
	}
	return kind
}
