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
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// listItem is an object in a list, in the form that all types share.
type listItem struct {
	id      objectID
	enabled *bool
	updated *time.Time
	managed *bool
	tags    map[string]*string
}

// listPage is one page of a list with the link to the next one. items is nil if the response has no list.
type listPage struct {
	items    []listItem
	nextLink *string
}

func newListPage(next *string, items int, complete bool) listPage {
	p := listPage{nextLink: next}
	if complete {
		p.items = make([]listItem, 0, items)
	}
	return p
}

func (s secretClient) listSecrets(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	return readList(ctx, ref, s.host, s.NewListSecretPropertiesPager(nil),
		func(answer azsecrets.ListSecretPropertiesResponse) listPage {
			p := newListPage(answer.NextLink, len(answer.Value), answer.Value != nil)
			for _, from := range answer.Value {
				if from == nil {
					from = &azsecrets.SecretProperties{}
				}
				to := listItem{managed: from.Managed, tags: from.Tags}
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

func (c certificateClient) listCertificates(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	return readList(ctx, ref, c.host, c.NewListCertificatePropertiesPager(nil),
		func(answer azcertificates.ListCertificatePropertiesResponse) listPage {
			p := newListPage(answer.NextLink, len(answer.Value), answer.Value != nil)
			for _, from := range answer.Value {
				if from == nil {
					from = &azcertificates.CertificateProperties{}
				}
				to := listItem{tags: from.Tags}
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

func (k keyClient) listKeys(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	return readList(ctx, ref, k.host, k.NewListKeyPropertiesPager(nil),
		func(answer azkeys.ListKeyPropertiesResponse) listPage {
			p := newListPage(answer.NextLink, len(answer.Value), answer.Value != nil)
			for _, from := range answer.Value {
				if from == nil {
					from = &azkeys.KeyProperties{}
				}
				to := listItem{managed: from.Managed, tags: from.Tags}
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

// readList reads all pages of a list within the limits on pages, entries and bytes.
func readList[T any](ctx context.Context, ref keyvault.Ref, host string, pager *runtime.Pager[T],
	read func(T) listPage) (keyvault.Object, error) {
	object := keyvault.Object{Ref: ref, Version: "list", Entries: []keyvault.Entry{}}
	seen, size := map[string]bool{}, 0
	for pages := 1; pager.More(); pages++ {
		answer, err := pager.NextPage(ctx)
		if err != nil {
			return keyvault.Object{}, err
		}
		p := read(answer)
		if err := p.checkComplete(); err != nil {
			return keyvault.Object{}, err
		}
		for _, i := range p.items {
			entry := i.toEntry()
			object.Entries = append(object.Entries, entry)
			size += entry.Size()
		}
		if pages > limits.ListPages || len(object.Entries) > limits.ListEntries || size > limits.ListBytes {
			return keyvault.Object{}, fault.NewWithNextStep(fault.Malformed,
				"distribute the objects over several vaults",
				"the list is too long: the limits are %s pages, %s objects and %s",
				limits.Count(limits.ListPages), limits.Count(limits.ListEntries), limits.Bytes(limits.ListBytes))
		}
		if err := checkNextLink(p.nextLink, host, seen); err != nil {
			return keyvault.Object{}, err
		}
	}
	return object, nil
}

// checkComplete rejects an incomplete page. A list that ends early would look as if the other objects were deleted.
func (p listPage) checkComplete() error {
	for _, i := range p.items {
		if i.id == nil || i.id.Name() == "" {
			return incompleteAnswerError()
		}
	}
	if p.items == nil {
		return incompleteAnswerError()
	}
	return nil
}

// checkNextLink rejects a link to another host, to which the SDK would send the token, and a link that was already
// followed.
func checkNextLink(next *string, host string, seen map[string]bool) error {
	if next == nil || *next == "" {
		return nil
	}
	const look = "check what responds at the vault's address"
	page, err := url.Parse(*next)
	if err != nil || page.Scheme != "https" || page.Hostname() != host {
		return fault.NewWithNextStep(fault.Malformed, look, "the vault's list continues at another host")
	}
	if seen[*next] {
		return fault.NewWithNextStep(fault.Malformed, look, "the vault's list repeats a page")
	}
	seen[*next] = true
	return nil
}

func (i listItem) toEntry() keyvault.Entry {
	object := keyvault.Object{Tags: map[string]string{}}
	setTags(&object, i.tags)
	e := keyvault.Entry{Name: i.id.Name(), Tags: object.Tags, Disabled: i.enabled != nil && !*i.enabled,
		Managed: i.managed != nil && *i.managed}
	if i.updated != nil {
		e.Updated = i.updated.UTC()
	}
	return e
}

func (s secretClient) hasVersions(ctx context.Context, name string) (bool, error) {
	return hasAnyVersion(ctx, s.NewListSecretPropertiesVersionsPager(name, nil),
		func(a azsecrets.ListSecretPropertiesVersionsResponse) int { return len(a.Value) })
}

func (c certificateClient) hasVersions(ctx context.Context, name string) (bool, error) {
	return hasAnyVersion(ctx, c.NewListCertificatePropertiesVersionsPager(name, nil),
		func(a azcertificates.ListCertificatePropertiesVersionsResponse) int { return len(a.Value) })
}

func (k keyClient) hasVersions(ctx context.Context, name string) (bool, error) {
	return hasAnyVersion(ctx, k.NewListKeyPropertiesVersionsPager(name, nil),
		func(a azkeys.ListKeyPropertiesVersionsResponse) int { return len(a.Value) })
}
