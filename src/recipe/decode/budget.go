package decode

import (
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/transform"
)

// budget limits the total size of values in bytes. Every value is charged as soon as it exists, before the next one is
// decoded.
type budget struct {
	most, left int
}

func outputBudget() *budget { return &budget{limits.OutputBytes, limits.OutputBytes} }

func variableBudget() *budget { return &budget{limits.PodValueBytes, limits.PodValueBytes} }

// charge subtracts the n bytes of a value.
func (b *budget) charge(n int) error {
	if n > b.left {
		return b.exceeded()
	}
	b.left -= n
	return nil
}

func (b *budget) exceeded() error {
	return fault.New(fault.Malformed, "the values are larger than %s in total; store less, or remove transforms",
		limits.Bytes(int64(b.most)))
}

// transformed applies the item's transforms to a value and charges the result.
func (b *budget) transformed(item recipe.Item, v keyvault.Value) (keyvault.Value, error) {
	if v.Len() > b.most {
		return keyvault.Value{}, b.exceeded()
	}
	out, err := transform.Apply(item.Transforms, v.Reveal(), b.most)
	if err != nil {
		return keyvault.Value{}, err
	}
	if err := b.charge(len(out)); err != nil {
		return keyvault.Value{}, err
	}
	return keyvault.NewValue(out), nil
}
