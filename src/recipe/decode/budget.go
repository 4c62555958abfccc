package decode

import (
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/transform"
)

// budget is how many bytes of values may still be made. Every value is charged when it is made, before the next one is
// decoded.
type budget struct {
	most, left int
}

func outputBudget() *budget { return &budget{limits.OutputBytes, limits.OutputBytes} }

func variableBudget() *budget { return &budget{limits.PodValueBytes, limits.PodValueBytes} }

// charge takes the bytes of a value.
func (b *budget) charge(n int) error {
	if n > b.left {
		return b.exceeded()
	}
	b.left -= n
	return nil
}

func (b *budget) exceeded() error {
	return fault.New(fault.Malformed, "the values are larger than %s together; store less, or remove transforms",
		limits.Bytes(int64(b.most)))
}

// transformed applies the item's transforms and charges the result.
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
