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
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

// Source is where the parts come from. Errors are of package fault, say what to do, and hold no value. Its methods are called at once.
type Source interface {
	// Recipe reads the AzureKeyVaultSecret of that name.
	Recipe(ctx context.Context, name string) (recipe.Recipe, error)
	// Object reads one of the recipe's objects; ref is of the recipe, without an identity.
	Object(ctx context.Context, r recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error)
}

// Decoder is a Source that says where decoding runs; without it, decoding runs at once and is not remembered.
type Decoder interface {
	// Decoding is the share of the namespace that the source reads for.
	Decoding() decodepool.Share
}

func decodingOf(source Source) (share decodepool.Share) {
	if d, ok := source.(Decoder); ok {
		share = d.Decoding()
	}
	return share
}

// parallel is the most resources or objects that are looked up at once.
const parallel = 32

// environment is the most that Linux ever passes on to a program, in bytes. More is not even gathered: thousands of variables may name one large value.
const environment = 6 << 20

// resource is what one AzureKeyVaultSecret came to.
type resource struct {
	recipe recipe.Recipe
	err    error
}

// wanted is one object, as one resource names it.
type wanted struct{ resource, name, version string }

// object is what the vault said of it.
type object struct {
	ref     keyvault.Ref
	of      *resource
	private bool
	object  keyvault.Object
	err     error
}

// variable is one reference, understood.
type variable struct {
	ref    envref.Ref
	query  decode.Query
	object *object
	err    error
}

// Check says whether Resolve could give a value for every variable; no value is kept. How large they are together is not checked, since the
// references may be of several containers.
func Check(ctx context.Context, source Source, references map[string]string) error {
	variables, err := gather(ctx, source, references)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(references)) {
		if _, err := variables[name].value(ctx, decodingOf(source)); err != nil {
			return explain(err, name, references[name])
		}
	}
	return nil
}

// Resolve gives a value for every variable, or the error of the first one by name. Each resource and each object is read once, however many
// variables name it: parts of one certificate are of one version.
func Resolve(ctx context.Context, source Source, references map[string]string) (map[string][]byte, error) {
	variables, err := gather(ctx, source, references)
	if err != nil {
		return nil, err
	}
	values, total := make(map[string][]byte, len(references)), 0
	for _, name := range slices.Sorted(maps.Keys(references)) {
		value, err := variables[name].value(ctx, decodingOf(source))
		if total += len(name) + len(value); err == nil && total > environment {
			err = fault.New(fault.Invalid, "with its value the container's variables are more than %d MiB together, which Linux passes on to no program; "+
				"use fewer, or let the controller sync a Kubernetes Secret (spec.output.secret) and mount that as a file", environment>>20)
		}
		if err != nil {
			return nil, explain(err, name, references[name])
		}
		values[name] = value
	}
	return values, nil
}

// gather reads every resource and every object that the references name.
func gather(ctx context.Context, source Source, references map[string]string) (map[string]*variable, error) {
	variables := make(map[string]*variable, len(references))
	resources := map[string]*resource{}
	for _, name := range slices.Sorted(maps.Keys(references)) {
		ref, err := envref.Parse(references[name])
		if err != nil {
			// The text is not quoted: it may be a secret that merely looks like a reference.
			return nil, fault.Wrap(fault.KindOf(err), err, "variable "+name)
		}
		variables[name], resources[ref.Name] = &variable{ref: ref}, &resource{}
	}
	each(resources, func(name string, r *resource) { r.recipe, r.err = read(ctx, source, name) })
	objects := plan(variables, resources)
	each(objects, func(_ wanted, o *object) { o.object, o.err = source.Object(ctx, o.of.recipe, o.ref) })
	return variables, nil
}

// read gives the resource's recipe, with an item for everything that its searches find.
func read(ctx context.Context, source Source, name string) (recipe.Recipe, error) {
	r, err := source.Recipe(ctx, name)
	if err != nil || len(r.Searches) == 0 {
		return r, err
	}
	list, err := source.Object(ctx, r, r.List())
	if err != nil {
		return r, err
	}
	share := decodingOf(source)
	found, err := share.Do(ctx, share.Key("searches", r, list), func(ctx context.Context) (decodepool.Output, error) {
		expanded, err := decode.Expand(ctx, r, list.Entries)
		return decodepool.Output{Items: expanded.Items}, err
	})
	if err == nil {
		r.Items = found.Items
	}
	return r, err
}

// each calls do for every entry, some at once.
func each[K comparable, V any](entries map[K]V, do func(K, V)) {
	var group sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for key, value := range entries {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			do(key, value)
		})
	}
	group.Wait()
}

// plan says which objects are needed, and as which kind. A certificate whose key is wanted too is read once, as the secret that holds both.
func plan(variables map[string]*variable, resources map[string]*resource) map[wanted]*object {
	objects := map[wanted]*object{}
	for _, v := range variables {
		r := resources[v.ref.Name]
		if v.err = r.err; v.err != nil {
			continue
		}
		if v.query, v.err = decode.Pick(r.recipe, v.ref.Query); v.err != nil {
			continue
		}
		key := wanted{v.ref.Name, v.query.Item.Name + "/" + string(v.query.Item.Type), v.query.Item.Version}
		if objects[key] == nil {
			objects[key] = &object{of: r}
		}
		v.object = objects[key]
		v.object.private = v.object.private || v.query.Private()
		v.object.ref = r.recipe.Ref(v.query.Item, v.query.Kind(v.object.private))
	}
	return objects
}

func (v *variable) value(ctx context.Context, share decodepool.Share) ([]byte, error) {
	if v.err != nil {
		return nil, v.err
	}
	if v.object.err != nil {
		return nil, v.object.err
	}
	made, err := share.Do(ctx, share.Key("variable", v.query, v.object.object), func(context.Context) (decodepool.Output, error) {
		value, err := decode.Variable(v.query, v.object.object)
		return decodepool.Output{Values: map[string]keyvault.Value{"": value}}, err
	})
	if err != nil {
		return nil, err
	}
	content := made.Values[""].Reveal()
	if bytes.IndexByte(content, 0) >= 0 {
		return nil, fault.New(fault.Malformed, "the value holds a NUL byte, which no environment variable can; store it as base64")
	}
	return content, nil
}

// explain says which variable it is about, and keeps what the error says of when to ask again.
func explain(err error, variable, text string) error {
	return &fault.Error{Kind: fault.KindOf(err), Doing: fmt.Sprintf("variable %s (%s)", variable, text), Cause: err, RetryAfter: fault.RetryAfter(err)}
}
