package controller

import (
	"context"
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// shareable is how old a value may be that another resource or a repair fetched just before. It keeps many resources of one
// object, and a fight over an output, from becoming as many calls.
const shareable = 10 * time.Second

// ref says what is read, and as whom.
func (c *Controller) ref(namespace string, r recipe.Recipe) keyvault.Ref {
	ref := r.Ref()
	ref.As = c.Identities.Of(namespace, r.Identity)
	return ref
}

func (c *Controller) fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, c.FetchTimeout)
	defer cancel()
	object, err := c.Vault.Read(ctx, ref, min(shareable, c.Interval/2))
	c.Metrics.fetched(err)
	return object, err
}
