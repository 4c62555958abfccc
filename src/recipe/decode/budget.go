package decode

import (
	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/transform"
)

// budget limits the work for the values of one output or variable: their total size in bytes, the rounds of key
// derivation of all certificates, and the search for private keys. Every value is charged as soon as it exists, before
// the next one is decoded.
type budget struct {
	limit, remaining int
	parser           *certificate.Parser
	keyScanner       privateKeyScanner
}

func newOutputBudget() *budget {
	return newBudget(limits.OutputBytes, limits.OutputKeyDerivationRounds)
}

func newVariableBudget() *budget {
	return newBudget(limits.PodValueBytes, limits.KeyDerivationRounds)
}

func newBudget(bytes, rounds int) *budget {
	parser := certificate.NewParser(rounds)
	return &budget{bytes, bytes, parser, newPrivateKeyScanner(parser)}
}

// chargeBytes subtracts the n bytes of a value.
func (b *budget) chargeBytes(n int) error {
	if n > b.remaining {
		return b.exceededError()
	}
	b.remaining -= n
	return nil
}

func (b *budget) exceededError() error {
	return fault.New(fault.Malformed, "the values are larger than %s in total; store less, or remove transforms",
		limits.Bytes(int64(b.limit)))
}

// applyTransforms applies the item's transforms to a value and charges the result.
func (b *budget) applyTransforms(item recipe.Item, v keyvault.Value) (keyvault.Value, error) {
	if v.Len() > b.limit {
		return keyvault.Value{}, b.exceededError()
	}
	out, err := transform.Apply(item.Transforms, v.Reveal(), b.limit)
	if err != nil {
		return keyvault.Value{}, err
	}
	if err := b.chargeBytes(len(out)); err != nil {
		return keyvault.Value{}, err
	}
	return keyvault.NewValue(out), nil
}
