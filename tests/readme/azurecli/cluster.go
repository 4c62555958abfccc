package azurecli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/google/uuid"
)

// Of the one AKS cluster.
const (
	clusterGroup = "group"
	nodeGroup    = "MC_group_cluster_westeurope"
	scaleSet     = "aks-nodepool1-12345678-vmss"
)

// registry is one for images.
type registry struct{ name, group, password string }

// registryName is what Azure accepts.
var registryName = regexp.MustCompile(`^[a-zA-Z0-9]{5,50}$`)

func (a *Azure) clusterWithNodes() map[string]any {
	return map[string]any{"name": a.Cluster.Name, "resourceGroup": clusterGroup, "nodeResourceGroup": nodeGroup,
		"oidcIssuerProfile": map[string]any{"issuerUrl": a.Cluster.Issuer},
		"identityProfile": map[string]any{"kubeletidentity": map[string]any{
			"clientId": a.Cluster.KubeletClientID, "objectId": a.Cluster.KubeletObjectID}}}
}

func clusterCommands() map[string]command {
	return map[string]command{
		"aks list": {do: func(a *Azure, _ context.Context, _ options) (any, error) {
			return []any{a.clusterWithNodes()},
				nil
		}},
		"aks show": {
			needs: []string{"name", "resource-group"},
			do: func(a *Azure, _ context.Context, o options) (any, error) {
				if o.one("name") != a.Cluster.Name || o.one("resource-group") != clusterGroup {
					return nil, fmt.Errorf(
						"(ResourceNotFound) there is no cluster '%s' in the group '%s'",
						o.one("name"),
						o.one("resource-group"),
					)
				}
				return a.clusterWithNodes(), nil
			},
		},
		"vmss list": {needs: []string{"resource-group"}, do: func(_ *Azure, _ context.Context, o options) (any, error) {
			if o.one("resource-group") != nodeGroup {
				return []any{}, nil
			}
			return []any{map[string]any{"name": scaleSet}}, nil
		}},
	}
}

func registryCommands() map[string]command {
	return map[string]command{
		"acr create": {
			needs: []string{"name", "resource-group", "sku"},
			takes: []string{"admin-enabled"},
			do:    (*Azure).createRegistry,
		},
		"acr import": {needs: []string{"name", "source"}, takes: []string{"image"}, do: (*Azure).importImage},
		"acr credential show": {needs: []string{"name"}, do: func(a *Azure, _ context.Context, o options) (any, error) {
			r, ok := a.registries[o.one("name")]
			if !ok || r.password == "" {
				return nil, errors.New("there is no such registry, or its admin user is not enabled")
			}
			return map[string]any{
				"username":  r.name,
				"passwords": []any{map[string]any{"name": "password", "value": r.password}},
			}, nil
		}},
	}
}

func (a *Azure) createRegistry(_ context.Context, o options) (any, error) {
	r := &registry{name: o.one("name"), group: o.one("resource-group")}
	if err := a.checkGroup(r.group); err != nil {
		return nil, err
	}
	if !registryName.MatchString(r.name) {
		return nil, fmt.Errorf("the registry's name '%s' has not 5 to 50 letters and digits", r.name)
	}
	if !slices.Contains([]string{"Basic", "Standard", "Premium"}, o.one("sku")) {
		return nil, fmt.Errorf("argument --sku: invalid choice: '%s'", o.one("sku"))
	}
	if o.one("admin-enabled") == "true" {
		r.password = uuid.NewString()
	}
	a.registries[r.name] = r
	return map[string]any{"loginServer": r.name + ".azurecr.io"}, nil
}

func (a *Azure) importImage(ctx context.Context, o options) (any, error) {
	r, ok := a.registries[o.one("name")]
	if !ok {
		return nil, fmt.Errorf(
			"the resource with name '%s' and type 'Microsoft.ContainerRegistry/registries' could not be found",
			o.one("name"),
		)
	}
	if a.Import == nil {
		return nil, nil
	}
	return nil, a.Import(ctx, o.one("source"), r.name+".azurecr.io/"+o.one("image"))
}
