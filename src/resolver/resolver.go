package resolver

import (
	"bytes"
	"context"
	"fmt"

	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

// Source reads resources and vault objects. Its methods are called concurrently. Its errors are of package fault, give
// the next step, and contain no value.
type Source interface {
	// ReadResource reads the AzureKeyVaultSecret of that name.
	ReadResource(ctx context.Context, name string) (recipe.Recipe, error)
	// ReadObject reads one vault object of the recipe. ref comes from the recipe and has no identity.
	ReadObject(ctx context.Context, r recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error)
}

// DecodeShareSource is a Source with a share of a decode pool. The values of other sources are decoded by the caller
// and not cached.
type DecodeShareSource interface {
	// DecodeShare is the pool's share for the namespace of the references.
	DecodeShare() decodepool.NamespacePool
}

// Resolver resolves references to values.
type Resolver struct {
	Source Source
	// ReserveBytes is called when vault objects of that many bytes were read, and before values of that many more bytes
	// are kept. Its error ends the work. Nil reserves nothing.
	ReserveBytes func(bytes int) error
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
	w, err := r.readSources(ctx, references)
	if err != nil {
		return nil, err
	}
	total := 0
	for _, name := range w.variables {
		q := w.pendingByText[references[name]]
		if err := r.decodeReference(ctx, q, r.ReserveBytes); err != nil {
			return nil, q.explainError(name, err)
		}
		if total += len(name) + len(q.value); total > limits.EnvironmentBytes {
			return nil, q.explainError(name, &fault.Error{Kind: fault.Invalid,
				Operation: fmt.Sprintf("with its value, the container's variables are more than %s together, the "+
					"maximum that Linux passes to a program",
					limits.Bytes(limits.EnvironmentBytes)),
				Next: "use fewer variables, or let the controller sync a Kubernetes Secret (spec.output.secret) and " +
					"mount it as a file"})
		}
	}
	values := make(map[string][]byte, len(references))
	for _, name := range w.variables {
		values[name] = w.pendingByText[references[name]].value
	}
	return values, nil
}

// Check returns the error of the first variable by name that can't be resolved. It keeps no values. It does not check
// their total size, because the references can come from several containers.
func (r Resolver) Check(ctx context.Context, references map[string]string) error {
	w, err := r.readSources(ctx, references)
	if err != nil {
		return err
	}
	for _, name := range w.variables {
		q := w.pendingByText[references[name]]
		if err := r.decodeReference(ctx, q, nil); err != nil {
			return q.explainError(name, err)
		}
		q.value = nil
	}
	return nil
}

// decodeShare is the source's share of its decode pool; the zero Share if the source has none.
func (r Resolver) decodeShare() (share decodepool.NamespacePool) {
	if d, ok := r.Source.(DecodeShareSource); ok {
		share = d.DecodeShare()
	}
	return share
}

// decodeReference decodes the value of a reference, unless it is already decoded.
func (r Resolver) decodeReference(ctx context.Context, q *pendingReference, keep func(int) error) error {
	if q.isDecoded {
		return nil
	}
	if q.object.err != nil {
		return q.object.err
	}
	if err := checkNotEnded(ctx); err != nil {
		return err
	}
	share := r.decodeShare()
	decoded, err := share.Do(ctx, share.CacheKey("variable", q.query, q.object.vaultObject),
		func(context.Context) (decodepool.Output, error) {
			value, err := decode.VariableValue(q.query, q.object.vaultObject)
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
	q.value, q.isDecoded = value.Reveal(), true
	if bytes.IndexByte(q.value, 0) >= 0 {
		return fault.New(fault.Malformed,
			"the value holds a NUL byte, which an environment variable can't contain; store it as base64")
	}
	return nil
}
