package azure

import (
	"context"
	"net/url"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// maxPages bounds a list; Azure puts 25 objects on a page.
const maxPages = 400

// item is an object in a list, as all kinds have it.
type item struct {
	id      identifier
	enabled *bool
	updated *time.Time
	managed *bool
	tags    map[string]*string
}

// page is a part of a list, and where the next one is.
type page struct {
	items []item
	next  *string
}

func (s secrets) list(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	return list(ctx, ref, s.host, s.NewListSecretPropertiesPager(nil), func(answer azsecrets.ListSecretPropertiesResponse) page {
		p := page{next: answer.NextLink}
		for _, from := range answer.Value {
			to := item{managed: from.Managed, tags: from.Tags}
			if from.ID != nil {
				to.id = from.ID
			}
			if a := from.Attributes; a != nil {
				to.enabled, to.updated = a.Enabled, a.Updated
			}
			p.items = append(p.items, to)
		}
		return p
	})
}

func (c certificates) list(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	return list(ctx, ref, c.host, c.NewListCertificatePropertiesPager(nil), func(answer azcertificates.ListCertificatePropertiesResponse) page {
		p := page{next: answer.NextLink}
		for _, from := range answer.Value {
			to := item{tags: from.Tags}
			if from.ID != nil {
				to.id = from.ID
			}
			if a := from.Attributes; a != nil {
				to.enabled, to.updated = a.Enabled, a.Updated
			}
			p.items = append(p.items, to)
		}
		return p
	})
}

func (k keys) list(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	return list(ctx, ref, k.host, k.NewListKeyPropertiesPager(nil), func(answer azkeys.ListKeyPropertiesResponse) page {
		p := page{next: answer.NextLink}
		for _, from := range answer.Value {
			to := item{managed: from.Managed, tags: from.Tags}
			if from.KID != nil {
				to.id = from.KID
			}
			if a := from.Attributes; a != nil {
				to.enabled, to.updated = a.Enabled, a.Updated
			}
			p.items = append(p.items, to)
		}
		return p
	})
}

// list gives what the vault says of every object of a kind.
func list[T any](ctx context.Context, ref keyvault.Ref, host string, pager *runtime.Pager[T], read func(T) page) (keyvault.Object, error) {
	object := keyvault.Object{Ref: ref, Version: "list", Entries: []keyvault.Entry{}}
	for pages := 0; pager.More(); pages++ {
		if pages == maxPages {
			return keyvault.Object{}, fault.New(fault.Malformed, "the list has more than %d pages; put the objects into several vaults", maxPages)
		}
		answer, err := pager.NextPage(ctx)
		if err != nil {
			return keyvault.Object{}, err
		}
		p := read(answer)
		for _, i := range p.items {
			if i.id == nil || i.id.Name() == "" {
				return keyvault.Object{}, incomplete()
			}
			object.Entries = append(object.Entries, i.entry())
		}
		if err := stays(p.next, host); err != nil {
			return keyvault.Object{}, err
		}
	}
	return object, nil
}

// stays refuses a next page elsewhere: the SDK would send the token there.
func stays(next *string, host string) error {
	if next == nil || *next == "" {
		return nil
	}
	page, err := url.Parse(*next)
	if err != nil || page.Scheme != "https" || page.Hostname() != host {
		return fault.New(fault.Malformed, "the vault's list goes on at another host; check what answers at the vault's address")
	}
	return nil
}

func (i item) entry() keyvault.Entry {
	object := keyvault.Object{Tags: map[string]string{}}
	tag(&object, i.tags)
	e := keyvault.Entry{Name: i.id.Name(), Tags: object.Tags, Disabled: i.enabled != nil && !*i.enabled, Managed: i.managed != nil && *i.managed}
	if i.updated != nil {
		e.Updated = i.updated.UTC()
	}
	return e
}
