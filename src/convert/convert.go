package convert

import (
	"context"

	"github.com/akv2k8s/akv2k8s/src/convert/conversion"
	"github.com/akv2k8s/akv2k8s/src/convert/eso"
)

// Input is one file of manifests or values.
type Input = conversion.Input

// Result is the outcome of a conversion.
type Result = conversion.Result

// Finding is what a conversion says about a part of the input.
type Finding = conversion.Finding

// Kind is the kind of a finding.
type Kind = conversion.Kind

// The kinds of findings.
const (
	LeftOut = conversion.LeftOut
	Changed = conversion.Changed
	Note    = conversion.Note
)

// Options are settings of a conversion.
type Options struct {
	// Vaults are the names of vaults by the name of a store that is not among the inputs. The vault of the empty name
	// is that of all other stores.
	Vaults map[string]string
}

// newSources is the registry of the formats, for one run. The first one that matches converts an object.
func newSources(options Options) []conversion.Source {
	mounts := &workloads{}
	return []conversion.Source{
		eso.New(options.Vaults), providerClasses{mounts}, &appConfiguration{}, v1Resources{}, v1Values{},
		&argoPlaceholders{workloads: mounts, references: map[reference]string{}}, otherObjects{mounts},
	}
}

// Convert converts all inputs of one run. It fails with a *manifest.InputError if an input can't be read, or is larger
// than the limits.
func Convert(ctx context.Context, inputs []Input, options Options) (*Result, error) {
	run, err := conversion.New(newSources(options))
	if err != nil {
		return nil, err
	}
	return run.Convert(ctx, inputs)
}
