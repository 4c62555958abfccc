package azure

import (
	"context"
	"net/url"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// maxPages bounds a list; Azure puts 25 secrets on a page.
const maxPages = 400

// list gives names and tags of the secrets that are enabled. Those that belong to certificates are left out, as in the portal: each holds a
// private key, and is meant to be asked for as a certificate.
func (s secrets) list(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	object := keyvault.Object{Ref: ref, Version: "list", Entries: []keyvault.Entry{}}
	pager := s.NewListSecretPropertiesPager(nil)
	for pages := 0; pager.More(); pages++ {
		if pages == maxPages {
			return keyvault.Object{}, fault.New(fault.Malformed, "the list has more than %d pages; put the secrets into several vaults", maxPages)
		}
		page, err := pager.NextPage(ctx)
		if err != nil {
			return keyvault.Object{}, err
		}
		for _, item := range page.Value {
			if item.ID == nil || item.ID.Name() == "" {
				return keyvault.Object{}, incomplete()
			}
			if listed(item) {
				object.Entries = append(object.Entries, entry(item))
			}
		}
		if err := s.stays(page.NextLink); err != nil {
			return keyvault.Object{}, err
		}
	}
	return object, nil
}

// stays refuses a next page elsewhere: the SDK would send the token there.
func (s secrets) stays(next *string) error {
	if next == nil || *next == "" {
		return nil
	}
	page, err := url.Parse(*next)
	if err != nil || page.Scheme != "https" || page.Hostname() != s.host {
		return fault.New(fault.Malformed, "the vault's list goes on at another host; check what answers at the vault's address")
	}
	return nil
}

func listed(item *azsecrets.SecretProperties) bool {
	enabled := item.Attributes == nil || item.Attributes.Enabled == nil || *item.Attributes.Enabled
	return enabled && (item.Managed == nil || !*item.Managed)
}

func entry(item *azsecrets.SecretProperties) keyvault.Entry {
	object := keyvault.Object{Tags: map[string]string{}}
	tag(&object, item.Tags)
	return keyvault.Entry{Name: item.ID.Name(), Tags: object.Tags}
}
