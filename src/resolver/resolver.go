package resolver

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

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
	// Object reads what the recipe is made from.
	Object(ctx context.Context, r recipe.Recipe) (keyvault.Object, error)
}

// parallel is the most resources that are looked up at once.
const parallel = 32

// found is what one resource came to.
type found struct {
	recipe recipe.Recipe
	object keyvault.Object
	err    error
}

// Resolve gives a value for every variable, or the error of the first one by name. Each resource is read once, however many variables name it.
func Resolve(ctx context.Context, source Source, references map[string]string) (map[string][]byte, error) {
	parsed := make(map[string]envref.Ref, len(references))
	resources := map[string]*found{}
	for _, variable := range slices.Sorted(maps.Keys(references)) {
		ref, err := envref.Parse(references[variable])
		if err != nil {
			// The text is not quoted: it may be a secret that merely looks like a reference.
			return nil, fault.Wrap(fault.KindOf(err), err, "variable "+variable)
		}
		parsed[variable], resources[ref.Name] = ref, &found{}
	}
	lookUp(ctx, source, resources)
	values := make(map[string][]byte, len(references))
	for _, variable := range slices.Sorted(maps.Keys(references)) {
		ref := parsed[variable]
		value, err := resources[ref.Name].value(ref.Query)
		if err != nil {
			return nil, explain(err, variable, references[variable])
		}
		values[variable] = value
	}
	return values, nil
}

// lookUp fills what was found of each resource.
func lookUp(ctx context.Context, source Source, resources map[string]*found) {
	var group sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for name, f := range resources {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if f.recipe, f.err = source.Recipe(ctx, name); f.err == nil {
				f.object, f.err = source.Object(ctx, f.recipe)
			}
		})
	}
	group.Wait()
}

func (f *found) value(query string) ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	value, err := decode.Variable(f.recipe, f.object, query)
	if err != nil {
		return nil, err
	}
	content := value.Reveal()
	if bytes.IndexByte(content, 0) >= 0 {
		return nil, fault.New(fault.Malformed, "the value holds a NUL byte, which no environment variable can; store it as base64")
	}
	return content, nil
}

// explain says which variable it is about, and keeps what the error says of when to ask again.
func explain(err error, variable, text string) error {
	return &fault.Error{Kind: fault.KindOf(err), Doing: fmt.Sprintf("variable %s (%s)", variable, text), Cause: err, RetryAfter: fault.RetryAfter(err)}
}
