package azurecli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
)

// application is one in Entra ID.
type application struct {
	name string
	// principal has the client id, and an object id once there is a service principal.
	principal entra.Principal
}

// identity is a user-assigned managed identity.
type identity struct {
	name, group string
	principal   entra.Principal
	// assigned are the scale sets whose nodes have it.
	assigned map[string]bool
}

func directoryCommands() map[string]command {
	named := []string{"name", "resource-group"}
	return map[string]command{
		"ad signed-in-user show": {do: func(*Azure, context.Context, options) (any, error) {
			return map[string]any{"id": person}, nil
		}},
		"ad app create": {needs: []string{"display-name"}, do: (*Azure).createApplication},
		"ad app delete": {needs: []string{"id"}, do: (*Azure).deleteApplication},
		"ad app credential reset": {
			needs: []string{"id"},
			takes: []string{"cert"},
			flags: []string{"append"},
			do:    (*Azure).resetCredential,
		},
		"ad sp create":    {needs: []string{"id"}, do: (*Azure).createServicePrincipal},
		"identity create": {needs: named, takes: []string{"location"}, do: (*Azure).createIdentity},
		"identity show": {needs: named, do: func(a *Azure, _ context.Context, o options) (any, error) {
			i, err := a.findIdentity(o.one("resource-group"), o.one("name"))
			if err != nil {
				return nil, err
			}
			return i.json(), nil
		}},
		"identity federated-credential create": {
			needs: []string{"name", "identity-name", "resource-group", "issuer", "subject"},
			lists: []string{"audiences"},
			do:    (*Azure).addFederatedCredential,
		},
		"vmss identity assign": {needs: named, lists: []string{"identities"}, do: (*Azure).assignIdentity},
		"vmss identity remove": {needs: named, lists: []string{"identities"}, do: (*Azure).removeIdentity},
	}
}

// knowsPrincipal says whether an object id is somebody's.
func (a *Azure) knowsPrincipal(objectID string) bool {
	for _, app := range a.applications {
		if app.principal.ObjectID == objectID {
			return true
		}
	}
	for _, i := range a.identities {
		if i.principal.ObjectID == objectID {
			return true
		}
	}
	return objectID == person || objectID == a.Cluster.KubeletObjectID
}

func (a *Azure) createApplication(_ context.Context, o options) (any, error) {
	app := &application{name: o.one("display-name")}
	app.principal = entra.Principal{Name: app.name, ClientID: uuid.NewString()}
	a.applications[app.principal.ClientID] = app
	return map[string]any{"appId": app.principal.ClientID, "id": uuid.NewString(), "displayName": app.name}, nil
}

func (a *Azure) findApplication(clientID string) (*application, error) {
	app, ok := a.applications[clientID]
	if !ok {
		return nil, fmt.Errorf(
			"resource '%s' does not exist or one of its queried reference-property objects are not present",
			clientID,
		)
	}
	return app, nil
}

func (a *Azure) deleteApplication(ctx context.Context, o options) (any, error) {
	app, err := a.findApplication(o.one("id"))
	if err != nil {
		return nil, err
	}
	delete(a.applications, o.one("id"))
	return nil, a.registerPrincipal(ctx, entra.Principal{Name: app.name, ClientID: app.principal.ClientID})
}

func (a *Azure) createServicePrincipal(ctx context.Context, o options) (any, error) {
	app, err := a.findApplication(o.one("id"))
	if err != nil {
		return nil, err
	}
	if app.principal.ObjectID != "" {
		return nil, errors.New("the service principal cannot be created because it is there already")
	}
	app.principal.ObjectID = uuid.NewString()
	return map[string]any{"id": app.principal.ObjectID, "appId": app.principal.ClientID},
		a.registerPrincipal(ctx, app.principal)
}

func (a *Azure) resetCredential(ctx context.Context, o options) (any, error) {
	app, err := a.findApplication(o.one("id"))
	if err != nil {
		return nil, err
	}
	result := map[string]any{"appId": app.principal.ClientID, "tenant": a.Tenant}
	if o.has("cert") {
		name, isFile := strings.CutPrefix(o.one("cert"), "@")
		if !isFile {
			return nil, errors.New("argument --cert: the stand-in takes a file, @NAME")
		}
		if app.principal.Certificates, err = o.file(name); err != nil {
			return nil, err
		}
	} else {
		app.principal.Secret = strings.ReplaceAll(uuid.NewString(), "-", "~")
		result["password"] = app.principal.Secret
	}
	return result, a.registerPrincipal(ctx, app.principal)
}

func (a *Azure) createIdentity(ctx context.Context, o options) (any, error) {
	group, name := o.one("resource-group"), o.one("name")
	if err := a.checkGroup(group); err != nil {
		return nil, err
	}
	i := &identity{name: name, group: group, assigned: map[string]bool{}}
	i.principal = entra.Principal{Name: name, ClientID: uuid.NewString(), ObjectID: uuid.NewString(),
		ResourceID: groupID(group) + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name}
	a.identities[i.principal.ResourceID] = i
	return i.json(), a.registerPrincipal(ctx, i.principal)
}

func (i *identity) json() map[string]any {
	return map[string]any{
		"id":          i.principal.ResourceID,
		"name":        i.name,
		"clientId":    i.principal.ClientID,
		"principalId": i.principal.ObjectID,
	}
}

func (a *Azure) findIdentity(group, name string) (*identity, error) {
	for _, i := range a.identities {
		if i.group == group && i.name == name {
			return i, nil
		}
	}
	return nil, fmt.Errorf("(ResourceNotFound) there is no identity '%s' in the group '%s'", name, group)
}

// dropIdentities removes those of a group; what they are assigned to keeps the assignment, as in Azure.
func (a *Azure) dropIdentities(ctx context.Context, group string) error {
	for id, i := range a.identities {
		if i.group != group {
			continue
		}
		if len(i.assigned) > 0 {
			return fmt.Errorf("identity %s is deleted while nodes have it; remove it from them first", i.name)
		}
		delete(a.identities, id)
		if err := a.registerPrincipal(ctx, entra.Principal{Name: i.name, ClientID: i.principal.ClientID}); err != nil {
			return err
		}
	}
	return nil
}

func (a *Azure) addFederatedCredential(ctx context.Context, o options) (any, error) {
	i, err := a.findIdentity(o.one("resource-group"), o.one("identity-name"))
	if err != nil {
		return nil, err
	}
	if audiences := o.values["audiences"]; len(audiences) != 1 || audiences[0] != "api://AzureADTokenExchange" {
		return nil, fmt.Errorf("the audience of ServiceAccounts is api://AzureADTokenExchange, and not %q", audiences)
	}
	if o.one("issuer") != a.Cluster.Issuer {
		return nil, fmt.Errorf("the issuer %q is not the cluster's", o.one("issuer"))
	}
	i.principal.Federated = append(
		i.principal.Federated,
		entra.Federation{Issuer: o.one("issuer"), Subject: o.one("subject"), Key: a.Cluster.IssuerKey},
	)
	return map[string]any{"name": o.one("name")}, a.registerPrincipal(ctx, i.principal)
}

// assignIdentity gives an identity to the nodes of a scale set: from then on the metadata service knows it.
func (a *Azure) assignIdentity(ctx context.Context, o options) (any, error) {
	return a.changeAssignment(ctx, o, true)
}

func (a *Azure) removeIdentity(ctx context.Context, o options) (any, error) {
	return a.changeAssignment(ctx, o, false)
}

func (a *Azure) changeAssignment(ctx context.Context, o options, assign bool) (any, error) {
	if o.one("resource-group") != nodeGroup || o.one("name") != scaleSet {
		return nil, fmt.Errorf(
			"(ResourceNotFound) there is no scale set '%s' in the group '%s'",
			o.one("name"),
			o.one("resource-group"),
		)
	}
	for _, id := range o.values["identities"] {
		i, ok := a.identities[id]
		if !ok {
			return nil, fmt.Errorf("(FailedIdentityOperation) there is no identity with the id '%s'", id)
		}
		i.principal.ManagedIdentity = ""
		delete(i.assigned, scaleSet)
		if assign {
			i.assigned[scaleSet], i.principal.ManagedIdentity = true, "user"
		}
		if err := a.registerPrincipal(ctx, i.principal); err != nil {
			return nil, err
		}
	}
	return map[string]any{}, nil
}
