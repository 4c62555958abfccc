package resolver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

// resolution is the state of one request.
type resolution struct {
	// variables of the variables, sorted.
	variables []string
	// pendingByText has the references by their text.
	pendingByText map[string]*pendingReference
	resources     map[string]*resourceResult
	objects       map[objectKey]*objectResult
}

// pendingReference is one reference, which any number of variables can have.
type pendingReference struct {
	text      string
	ref       envref.Reference
	query     decode.Query
	object    *objectResult
	value     []byte
	isDecoded bool
}

// resourceResult is the result of reading one AzureKeyVaultSecret.
type resourceResult struct {
	recipe recipe.Recipe
	// itemsByKey has the items of a resource with several objects, by data key.
	itemsByKey map[string]recipe.Item
	err        error
}

// objectKey identifies a vault object by the resource and the resource's item.
type objectKey struct {
	resource, name, version string
	kind                    recipe.ObjectType
}

// objectResult is the result of reading one vault object.
type objectResult struct {
	ref             keyvault.Ref
	resource        *resourceResult
	needsPrivateKey bool
	vaultObject     keyvault.Object
	err             error
}

// readSources reads every resource and every vault object that the references name.
func (r Resolver) readSources(ctx context.Context, references map[string]string) (*resolution, error) {
	w := newResolution()
	w.variables = slices.Sorted(maps.Keys(references))
	if err := w.parseReferences(references); err != nil {
		return nil, err
	}
	r.readResources(ctx, w)
	if err := w.planObjects(references); err != nil {
		return nil, err
	}
	r.readObjects(ctx, w)
	return w, nil
}

func newResolution() *resolution {
	return &resolution{pendingByText: map[string]*pendingReference{}, resources: map[string]*resourceResult{},
		objects: map[objectKey]*objectResult{}}
}

// readResources reads the resources of a resolution. Each has its own error.
func (r Resolver) readResources(ctx context.Context, w *resolution) {
	forEachConcurrently(w.resources, func(name string, found *resourceResult) {
		r.readResource(ctx, name, found)
	})
}

// readObjects reads the vault objects of a resolution. Each has its own error.
func (r Resolver) readObjects(ctx context.Context, w *resolution) {
	memory := &objectMemory{reserve: r.ReserveBytes}
	forEachConcurrently(w.objects, func(_ objectKey, o *objectResult) {
		if o.err = checkNotEnded(ctx); o.err != nil {
			return
		}
		object, err := r.Source.ReadObject(ctx, o.resource.recipe, o.ref)
		if err == nil {
			err = memory.addObject(object.Value.Len())
		}
		if o.err = err; err == nil {
			o.vaultObject = object
		}
	})
}

// parseReferences collects the distinct references and resources. It rejects a request with too many before anything is
// read.
func (w *resolution) parseReferences(references map[string]string) error {
	for _, name := range w.variables {
		if _, err := w.addReference("variable "+shortenName(name), references[name]); err != nil {
			return err
		}
	}
	return nil
}

// addReference parses a reference and adds its resource. Its error begins with usedBy, which names the variable or
// file.
func (w *resolution) addReference(usedBy, text string) (*pendingReference, error) {
	if known := w.pendingByText[text]; known != nil {
		return known, nil
	}
	ref, err := envref.Parse(text)
	if err != nil {
		// The text is not quoted: it can be a secret that only resembles a reference.
		return nil, fault.Wrap(fault.KindOf(err), err, usedBy)
	}
	q := &pendingReference{text: text, ref: ref}
	w.pendingByText[text] = q
	if w.resources[ref.Name] == nil {
		w.resources[ref.Name] = &resourceResult{}
	}
	return q, w.checkLimits()
}

func (w *resolution) checkLimits() error {
	for _, count := range []struct {
		of   string
		n    int
		most int64
	}{{"different references", len(w.pendingByText), limits.ReferencesPerRequest},
		{"AzureKeyVaultSecrets", len(w.resources), limits.ResourcesPerRequest}} {
		if int64(count.n) > count.most {
			return &fault.Error{Kind: fault.Invalid,
				Operation: fmt.Sprintf("the variables use more than %s %s, which is the limit",
					limits.Count(count.most),
					count.of),
				Next: "spread them over several pods, or use one AzureKeyVaultSecret for several objects (spec.data)"}
		}
	}
	return nil
}

// readResource reads one resource, and adds an item for each vault object that its searches find.
func (r Resolver) readResource(ctx context.Context, name string, found *resourceResult) {
	if found.err = checkNotEnded(ctx); found.err != nil {
		return
	}
	found.recipe, found.err = r.Source.ReadResource(ctx, name)
	if found.err == nil && len(found.recipe.Searches) > 0 {
		found.err = r.addSearchResults(ctx, &found.recipe)
	}
	if found.recipe.MultipleItems {
		found.itemsByKey = make(map[string]recipe.Item, len(found.recipe.Items))
		for _, item := range found.recipe.Items {
			found.itemsByKey[item.DataKey] = item
		}
	}
}

// addSearchResults lists the vault and adds an item for each object that the recipe's searches find.
func (r Resolver) addSearchResults(ctx context.Context, into *recipe.Recipe) error {
	list, err := r.Source.ReadObject(ctx, *into, into.SecretListRef())
	if err != nil {
		return err
	}
	share := r.decodeShare()
	found, err := share.Do(ctx, share.CacheKey("searches", *into, list),
		func(ctx context.Context) (decodepool.Output, error) {
			expanded, err := decode.ExpandSearches(ctx, *into, list.Entries)
			return decodepool.Output{Items: expanded.Items}, err
		})
	if err == nil {
		into.Items = found.Items
	}
	return err
}

// forEachConcurrently calls do for every entry, with a limited number of concurrent calls.
func forEachConcurrently[K comparable, V any](entries map[K]V, do func(K, V)) {
	var group sync.WaitGroup
	slots := make(chan struct{}, limits.ParallelReadsPerRequest)
	for key, value := range entries {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			do(key, value)
		})
	}
	group.Wait()
}

// planObjects collects the vault objects to read, with their kinds. It returns the error of the first variable whose
// resource or item is missing. A certificate whose private key is needed, too, is read once, as the secret that has
// both.
func (w *resolution) planObjects(references map[string]string) error {
	for _, name := range w.variables {
		q := w.pendingByText[references[name]]
		if err := w.planObject(q); err != nil {
			return q.explainError(name, err)
		}
	}
	return nil
}

// planObject finds the vault object of a reference.
func (w *resolution) planObject(q *pendingReference) error {
	if q.object != nil {
		return nil
	}
	found := w.resources[q.ref.Name]
	if found.err != nil {
		return found.err
	}
	if err := q.pickItem(found); err != nil {
		return err
	}
	q.object = w.requireObject(q.ref.Name, q.query.Item, q.query.NeedsPrivateKey())
	return nil
}

// requireObject adds the vault object of an item to those that are read, with its private key if any use needs it.
func (w *resolution) requireObject(resource string, item recipe.Item, needsPrivateKey bool) *objectResult {
	found, key := w.resources[resource], objectKey{resource, item.Name, item.Version, item.Type}
	if w.objects[key] == nil {
		w.objects[key] = &objectResult{resource: found}
	}
	o := w.objects[key]
	o.needsPrivateKey = o.needsPrivateKey || needsPrivateKey
	o.ref = found.recipe.ItemRef(item, decode.Query{Item: item}.Kind(o.needsPrivateKey))
	return o
}

// pickItem finds the item of the resource that the reference's query selects.
func (q *pendingReference) pickItem(found *resourceResult) (err error) {
	if item, ok := found.itemsByKey[q.ref.Query]; ok {
		q.query = decode.Query{Item: item}
		return nil
	}
	q.query, err = decode.NewQuery(found.recipe, q.ref.Query)
	return err
}

// explainError adds the variable and its reference to an error, and keeps the error's RetryAfter.
func (q *pendingReference) explainError(variable string, err error) error {
	return q.explainErrorOf("variable "+shortenName(variable), err)
}

// explainErrorOf adds what uses the reference, and the reference, to an error.
func (q *pendingReference) explainErrorOf(usedBy string, err error) error {
	return &fault.Error{Kind: fault.KindOf(err),
		Operation:  fmt.Sprintf("%s (%s)", usedBy, q.text),
		Cause:      err,
		RetryAfter: fault.RetryAfter(err)}
}

// checkNotEnded returns an error if the request was cancelled or its time is over.
func checkNotEnded(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return fault.Wrap(fault.Unavailable, err, "resolving the references")
	}
	return nil
}

// shortenName cuts the name of a variable for messages, because Kubernetes does not limit its length.
func shortenName(name string) string {
	if len(name) <= limits.NameBytesInMessages {
		return name
	}
	return name[:limits.NameBytesInMessages] + "…"
}
