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

func (c *Controller) fetch(ctx context.Context, r recipe.Recipe) (keyvault.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, c.FetchTimeout)
	defer cancel()
	object, err := c.Vault.Read(ctx, r.Ref(), min(shareable, c.Interval/2))
	c.Metrics.fetched(err)
	return object, err
}
