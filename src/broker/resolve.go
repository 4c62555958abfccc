package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
	"github.com/akv2k8s/akv2k8s/src/resolver"
)

// source reads what the references of one namespace name.
type source struct {
	*Broker
	namespace string
}

var _ resolver.Source = source{}

// Object implements resolver.Source. While the vault can't be asked, the last good answer serves, so that pods still start.
func (s source) Object(ctx context.Context, r recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error) {
	if err := s.Rules.Check(s.namespace, r.Vault); err != nil {
		return keyvault.Object{}, err
	}
	ref.As = s.Identities.Of(s.namespace, r.Identity)
	object, err := s.Vault.Read(ctx, ref, s.MaxAge)
	if err == nil || !fault.KindOf(err).Transient() {
		return object, err
	}
	if last, ok := s.Vault.Last(ref, s.StaleAge); ok {
		s.Metrics.stale.Inc()
		s.Log.Info("answering with the last value known", "object", ref.String(), "error", err.Error())
		return last, nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return object, fault.New(fault.Unavailable, "reading %s took longer than %s", ref, Patience)
	}
	return object, err
}

// Recipe implements resolver.Source. A resource that the cache does not have may have been created a moment ago.
func (s source) Recipe(ctx context.Context, resource string) (recipe.Recipe, error) {
	name := types.NamespacedName{Namespace: s.namespace, Name: resource}
	var object v2beta1.AzureKeyVaultSecret
	err := s.Cached.Get(ctx, name, &object)
	if apierrors.IsNotFound(err) {
		err = s.Live.Get(ctx, name, &object)
	}
	if apierrors.IsNotFound(err) {
		return recipe.Recipe{}, fault.New(fault.NotFound, "there is no AzureKeyVaultSecret %q in namespace %q; create it, or correct the name",
			name.Name, name.Namespace)
	}
	if err != nil {
		return recipe.Recipe{}, fault.Wrap(fault.Unavailable, err, fmt.Sprintf("asking the API server for AzureKeyVaultSecret %q", name.Name))
	}
	content, err := json.Marshal(&object)
	if err != nil {
		return recipe.Recipe{}, fault.Wrap(fault.Bug, err, "marshalling an AzureKeyVaultSecret")
	}
	return fromapi.Parse(content)
}
