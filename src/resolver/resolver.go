package resolver

import (
	"bytes"
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

// Source reads resources and vault objects. Its methods are called concurrently. Its errors are of package fault, give
// the next step, and contain no value.
type Source interface {
	// Recipe reads the AzureKeyVaultSecret of that name.
	Recipe(ctx context.Context, name string) (recipe.Recipe, error)
	// Object reads one vault object of the recipe. ref comes from the recipe and has no identity.
	Object(ctx context.Context, r recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error)
}

// Decoder is a Source with a share of a decode pool. The values of other sources are decoded by the caller
// and not cached.
type Decoder interface {
	// Decoding is the pool's share for the namespace of the references.
	Decoding() decodepool.Share
}

// Resolver resolves references to values.
type Resolver struct {
	Source Source
	// Keep is called before Resolve holds that many more bytes of values in memory. Its error ends the work.
	// Nil sets no limit.
	Keep func(bytes int) error
}

// Resolve returns the value of every variable. See Resolver.Resolve.
func Resolve(ctx context.Context, source Source, references map[string]string) (map[string][]byte, error) {
	return Resolver{Source: source}.Resolve(ctx, references)
}

// Check returns an error if a variable has no value. See Resolver.Check.
func Check(ctx context.Context, source Source, references map[string]string) error {
	return Resolver{Source: source}.Check(ctx, references)
}

// Resolve returns the value of every variable, or the error of the first one by name. references has references by
// variable. Each resource and each vault object is read once and each reference is decoded once, however many variables
// use it. So the parts of a certificate have the same version, and variables share the bytes of a value: callers must
// not change them.
func (r Resolver) Resolve(ctx context.Context, references map[string]string) (map[string][]byte, error) {
	w, err := r.gather(ctx, references)
	if err != nil {
		return nil, err
	}
	total := 0
	for _, name := range w.names {
		q := w.questions[references[name]]
		if err := r.answer(ctx, q, r.Keep); err != nil {
			return nil, q.explain(name, err)
		}
		if total += len(name) + len(q.value); total > limits.EnvironmentBytes {
			return nil, q.explain(name, &fault.Error{Kind: fault.Invalid,
				Doing: fmt.Sprintf("with its value, the container's variables are more than %s together, the "+
					"maximum that Linux passes to a program",
					limits.Bytes(limits.EnvironmentBytes)),
				Next: "use fewer variables, or let the controller sync a Kubernetes Secret (spec.output.secret) and " +
					"mount it as a file"})
		}
	}
	values := make(map[string][]byte, len(references))
	for _, name := range w.names {
		values[name] = w.questions[references[name]].value
	}
	return values, nil
}

// Check returns the error of the first variable by name that can't be resolved. It keeps no values. It does not check
// their total size, because the references can come from several containers.
func (r Resolver) Check(ctx context.Context, references map[string]string) error {
	w, err := r.gather(ctx, references)
	if err != nil {
		return err
	}
	for _, name := range w.names {
		q := w.questions[references[name]]
		if err := r.answer(ctx, q, nil); err != nil {
			return q.explain(name, err)
		}
		q.value = nil
	}
	return nil
}

// decoding is the source's share of its decode pool; the zero Share if the source has none.
func (r Resolver) decoding() (share decodepool.Share) {
	if d, ok := r.Source.(Decoder); ok {
		share = d.Decoding()
	}
	return share
}

// answer decodes the value of a reference, unless it is already decoded.
func (r Resolver) answer(ctx context.Context, q *question, keep func(int) error) error {
	if q.answered {
		return nil
	}
	if q.object.err != nil {
		return q.object.err
	}
	if err := ended(ctx); err != nil {
		return err
	}
	share := r.decoding()
	decoded, err := share.Do(ctx, share.Key("variable", q.query, q.object.object),
		func(context.Context) (decodepool.Output, error) {
			value, err := decode.Variable(q.query, q.object.object)
			return decodepool.Output{Values: map[string]keyvault.Value{"": value}}, err
		})
	if err != nil {
		return err
	}
	value := decoded.Values[""]
	if keep != nil {
		if err := keep(value.Len()); err != nil {
			return err
		}
	}
	q.value, q.answered = value.Reveal(), true
	if bytes.IndexByte(q.value, 0) >= 0 {
		return fault.New(fault.Malformed,
			"the value holds a NUL byte, which an environment variable can't contain; store it as base64")
	}
	return nil
}

// work is the state of one request.
type work struct {
	// names of the variables, sorted.
	names []string
	// questions has the references by their text.
	questions map[string]*question
	resources map[string]*resource
	objects   map[wanted]*object
}

// question is one reference, which any number of variables can have.
type question struct {
	text     string
	ref      envref.Ref
	query    decode.Query
	object   *object
	value    []byte
	answered bool
}

// resource is the result of reading one AzureKeyVaultSecret.
type resource struct {
	recipe recipe.Recipe
	// items has the items of a resource with several objects, by data key.
	items map[string]recipe.Item
	err   error
}

// wanted identifies a vault object by the resource and the resource's item.
type wanted struct {
	resource, name, version string
	kind                    recipe.ObjectType
}

// object is the result of reading one vault object.
type object struct {
	ref     keyvault.Ref
	of      *resource
	private bool
	object  keyvault.Object
	err     error
}

// gather reads every resource and every vault object that the references name.
func (r Resolver) gather(ctx context.Context, references map[string]string) (*work, error) {
	w := &work{names: slices.Sorted(maps.Keys(references)), questions: map[string]*question{},
		resources: map[string]*resource{},
		objects:   map[wanted]*object{}}
	if err := w.parse(references); err != nil {
		return nil, err
	}
	each(w.resources, func(name string, found *resource) {
		r.read(ctx, name, found)
	})
	if err := w.plan(references); err != nil {
		return nil, err
	}
	each(w.objects, func(_ wanted, o *object) {
		if o.err = ended(ctx); o.err == nil {
			o.object, o.err = r.Source.Object(ctx, o.of.recipe, o.ref)
		}
	})
	return w, nil
}

// parse collects the distinct references and resources. It rejects a request with too many before anything is
// read.
func (w *work) parse(references map[string]string) error {
	for _, name := range w.names {
		text := references[name]
		if w.questions[text] != nil {
			continue
		}
		ref, err := envref.Parse(text)
		if err != nil {
			// The text is not quoted: it can be a secret that only resembles a reference.
			return fault.Wrap(fault.KindOf(err), err, "variable "+shorten(name))
		}
		w.questions[text] = &question{text: text, ref: ref}
		w.resources[ref.Name] = &resource{}
		if err := w.checkCounts(); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) checkCounts() error {
	for _, count := range []struct {
		of   string
		n    int
		most int64
	}{{"different references", len(w.questions), limits.ReferencesPerRequest},
		{"AzureKeyVaultSecrets", len(w.resources), limits.ResourcesPerRequest}} {
		if int64(count.n) > count.most {
			return &fault.Error{Kind: fault.Invalid,
				Doing: fmt.Sprintf("the variables use more than %s %s, which is the limit", limits.Count(count.most),
					count.of),
				Next: "spread them over several pods, or use one AzureKeyVaultSecret for several objects (spec.data)"}
		}
	}
	return nil
}

// read reads one resource, and adds an item for each vault object that its searches find.
func (r Resolver) read(ctx context.Context, name string, found *resource) {
	if found.err = ended(ctx); found.err != nil {
		return
	}
	found.recipe, found.err = r.Source.Recipe(ctx, name)
	if found.err == nil && len(found.recipe.Searches) > 0 {
		found.err = r.search(ctx, &found.recipe)
	}
	if found.recipe.Several {
		found.items = make(map[string]recipe.Item, len(found.recipe.Items))
		for _, item := range found.recipe.Items {
			found.items[item.DataKey] = item
		}
	}
}

// search lists the vault and adds an item for each object that the recipe's searches find.
func (r Resolver) search(ctx context.Context, into *recipe.Recipe) error {
	list, err := r.Source.Object(ctx, *into, into.List())
	if err != nil {
		return err
	}
	share := r.decoding()
	found, err := share.Do(ctx, share.Key("searches", *into, list),
		func(ctx context.Context) (decodepool.Output, error) {
			expanded, err := decode.Expand(ctx, *into, list.Entries)
			return decodepool.Output{Items: expanded.Items}, err
		})
	if err == nil {
		into.Items = found.Items
	}
	return err
}

// each calls do for every entry, with a limited number of concurrent calls.
func each[K comparable, V any](entries map[K]V, do func(K, V)) {
	var group sync.WaitGroup
	slots := make(chan struct{}, limits.ReadsAtOncePerRequest)
	for key, value := range entries {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			do(key, value)
		})
	}
	group.Wait()
}

// plan collects the vault objects to read, with their kinds. It returns the error of the first variable whose
// resource or item is missing. A certificate whose private key is needed, too, is read once, as the secret that has
// both.
func (w *work) plan(references map[string]string) error {
	for _, name := range w.names {
		q := w.questions[references[name]]
		if q.object != nil {
			continue
		}
		found := w.resources[q.ref.Name]
		if found.err != nil {
			return q.explain(name, found.err)
		}
		if err := q.pick(found); err != nil {
			return q.explain(name, err)
		}
		key := wanted{q.ref.Name, q.query.Item.Name, q.query.Item.Version, q.query.Item.Type}
		if w.objects[key] == nil {
			w.objects[key] = &object{of: found}
		}
		q.object = w.objects[key]
		q.object.private = q.object.private || q.query.Private()
		q.object.ref = found.recipe.Ref(q.query.Item, q.query.Kind(q.object.private))
	}
	return nil
}

// pick finds the item of the resource that the reference's query selects.
func (q *question) pick(found *resource) (err error) {
	if item, ok := found.items[q.ref.Query]; ok {
		q.query = decode.Query{Item: item}
		return nil
	}
	q.query, err = decode.Pick(found.recipe, q.ref.Query)
	return err
}

// explain adds the variable and its reference to an error, and keeps the error's RetryAfter.
func (q *question) explain(variable string, err error) error {
	return &fault.Error{Kind: fault.KindOf(err), Doing: fmt.Sprintf("variable %s (%s)", shorten(variable), q.text),
		Cause:      err,
		RetryAfter: fault.RetryAfter(err)}
}

// ended returns an error if the request was cancelled or its time is over.
func ended(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return fault.Wrap(fault.Unavailable, err, "resolving the references")
	}
	return nil
}

// shorten cuts the name of a variable for messages, because Kubernetes does not limit its length.
func shorten(name string) string {
	if len(name) <= limits.NameBytesInMessages {
		return name
	}
	return name[:limits.NameBytesInMessages] + "…"
}
