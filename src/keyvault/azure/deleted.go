package azure

import (
	"context"
	"errors"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// IsDeleted reports whether an object was deleted and can still be recovered. It is false if the vault knows no such
// object, and an error means that the identity can't find out. It is for diagnoses: a read makes no such call.
func (v *Fetcher) IsDeleted(ctx context.Context, ref keyvault.Ref) (deleted bool, err error) {
	err = v.withClient(ctx, ref, func(ctx context.Context, c *cachedClient) error {
		return c.getDeleted(ctx,
			ref.Name)
	})
	var response *azcore.ResponseError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &response) && response.StatusCode == http.StatusNotFound:
		return false, nil
	}
	return false, v.classifyError(ctx, err, ref, nil)
}

func (s secretClient) getDeleted(ctx context.Context, name string) error {
	_, err := s.GetDeletedSecret(ctx, name, nil)
	return err
}

func (c certificateClient) getDeleted(ctx context.Context, name string) error {
	_, err := c.GetDeletedCertificate(ctx, name, nil)
	return err
}

func (k keyClient) getDeleted(ctx context.Context, name string) error {
	_, err := k.GetDeletedKey(ctx, name, nil)
	return err
}
