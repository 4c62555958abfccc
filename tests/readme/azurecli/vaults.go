package azurecli

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
)

const subscription = "33333333-3333-4333-8333-333333333333"

// person is the object id of whoever calls az.
const person = "99999999-9999-4999-8999-999999999999"

// vault is one that commands made.
type vault struct {
	name, group string
	// roles are the names of roles by the object id of who has them.
	roles map[string][]string
	// early says that the person's role is not in force yet.
	early bool
}

func (v *vault) id() string {
	return groupID(v.group) + "/providers/Microsoft.KeyVault/vaults/" + v.name
}

func groupID(group string) string {
	return "/subscriptions/" + subscription + "/resourceGroups/" + group
}

// vaultName is what Azure accepts: 3 to 24 letters, digits and single hyphens, the first a letter, the last no hyphen.
var vaultName = regexp.MustCompile(`^[A-Za-z](-?[A-Za-z0-9]){2,23}$`)

// objectName is the same for objects of vaults.
var objectName = regexp.MustCompile(`^[0-9A-Za-z-]{1,127}$`)

// role is what a role of vaults allows: writing kinds of objects, and operations of the emulator.
type role struct{ writes, reads []string }

func roles() map[string]role {
	secrets, certificates, keys := []string{
		"get",
		"list",
	}, []string{
		"certificates/get",
		"certificates/list",
	}, []string{
		"keys/get",
		"keys/list",
	}
	every := slices.Concat(secrets, certificates, keys)
	return map[string]role{
		"Key Vault Administrator":        {[]string{"secret", "certificate", "key"}, every},
		"Key Vault Secrets Officer":      {[]string{"secret"}, secrets},
		"Key Vault Certificates Officer": {[]string{"certificate"}, certificates},
		"Key Vault Crypto Officer":       {[]string{"key"}, keys},
		"Key Vault Secrets User":         {nil, secrets},
		"Key Vault Certificate User":     {nil, every},
		"Key Vault Crypto User":          {nil, keys},
	}
}

func vaultCommands() map[string]command {
	object := []string{"vault-name", "name"}
	return map[string]command{
		"account show": {do: func(a *Azure, _ context.Context, _ options) (any, error) {
			return map[string]any{"id": subscription, "tenantId": a.Tenant, "name": "tests"}, nil
		}},
		"group create": {needs: []string{"name", "location"}, do: (*Azure).createGroup},
		"group delete": {needs: []string{"name"}, flags: []string{"yes", "no-wait"}, do: (*Azure).deleteGroup},
		"keyvault create": {needs: []string{"name", "resource-group"},
			takes: []string{"location", "enable-rbac-authorization", "retention-days"}, do: (*Azure).createVault},
		"keyvault show": {needs: []string{"name"}, do: func(a *Azure, _ context.Context, o options) (any, error) {
			v, err := a.findVault(o.one("name"))
			if err != nil {
				return nil, err
			}
			return map[string]any{"id": v.id(), "name": v.name, "resourceGroup": v.group}, nil
		}},
		"role assignment create": {needs: []string{"role", "scope", "assignee-object-id", "assignee-principal-type"},
			do: (*Azure).assignRole},
		"keyvault secret set": {needs: object, takes: []string{"value", "file", "content-type"},
			lists: []string{"tags"},
			do:    (*Azure).setSecret},
		"keyvault certificate get-default-policy": {do: func(*Azure, context.Context, options) (any, error) {
			return map[string]any{
				"keyProperties": map[string]any{"exportable": true, "keySize": 2048, "keyType": "RSA",
					"reuseKey": true},
				"issuerParameters": map[string]any{
					"name": "Self",
				},
				"secretProperties": map[string]any{"contentType": "application/x-pkcs12"},
			}, nil
		}},
		"keyvault certificate create": {needs: append(slices.Clone(object), "policy"), do: (*Azure).createCertificate},
		"keyvault key create":         {needs: object, takes: []string{"kty", "size", "curve"}, do: (*Azure).createKey},
	}
}

func (a *Azure) createGroup(_ context.Context, o options) (any, error) {
	if location := o.one("location"); !slices.Contains([]string{"westeurope", "usgovvirginia"}, location) {
		return nil, fmt.Errorf("the stand-in has no location %q", location)
	}
	a.groups[o.one("name")] = true
	return map[string]any{"name": o.one("name"), "id": groupID(o.one("name"))}, nil
}

// deleteGroup removes what is in the group; the emulator keeps vaults, which nobody may read from then on.
func (a *Azure) deleteGroup(ctx context.Context, o options) (any, error) {
	group := o.one("name")
	if !o.has("yes") {
		return nil, errors.New("unable to prompt for confirmation as no tty available; use --yes")
	}
	if err := a.checkGroup(group); err != nil {
		return nil, err
	}
	delete(a.groups, group)
	for name, v := range a.vaults {
		if v.group != group {
			continue
		}
		for objectID := range v.roles {
			if err := a.Emulator.Permit(ctx, name, objectID); err != nil {
				return nil, err
			}
		}
		delete(a.vaults, name)
	}
	return nil, a.dropIdentities(ctx, group)
}

func (a *Azure) checkGroup(group string) error {
	if !a.groups[group] {
		return fmt.Errorf("(ResourceGroupNotFound) Resource group '%s' could not be found", group)
	}
	return nil
}

func (a *Azure) createVault(ctx context.Context, o options) (any, error) {
	name := o.one("name")
	if err := a.checkGroup(o.one("resource-group")); err != nil {
		return nil, err
	}
	switch _, there := a.vaults[name]; {
	case !vaultName.MatchString(name) || len(name) > 24:
		return nil, fmt.Errorf(
			"(VaultNameNotValid) The vault name '%s' is invalid: 3 to 24 letters, digits and hyphens",
			name,
		)
	case there:
		return nil, fmt.Errorf("(VaultAlreadyExists) The vault name '%s' is already in use", name)
	case o.one("enable-rbac-authorization") != "true":
		return nil, errors.New("the stand-in has vaults with roles alone: --enable-rbac-authorization true")
	}
	a.vaults[name] = &vault{name: name, group: o.one("resource-group"), roles: map[string][]string{}}
	// The emulator knows a vault from its first permission on.
	if err := a.Emulator.Permit(ctx, name, person); err != nil {
		return nil, err
	}
	return map[string]any{"id": a.vaults[name].id(), "name": name, "resourceGroup": o.one("resource-group")}, nil
}

func (a *Azure) findVault(name string) (*vault, error) {
	v, ok := a.vaults[name]
	if !ok {
		return nil, fmt.Errorf("vault '%s' not found: its name has no address", name)
	}
	return v, nil
}

func (a *Azure) assignRole(ctx context.Context, o options) (any, error) {
	scope, name, objectID, kind := o.one(
		"scope",
	), o.one(
		"role",
	), o.one(
		"assignee-object-id",
	), o.one(
		"assignee-principal-type",
	)
	if _, ok := roles()[name]; !ok {
		return nil, fmt.Errorf("role '%s' doesn't exist", name)
	}
	wanted := "ServicePrincipal"
	if objectID == person {
		wanted = "User"
	}
	if !a.knowsPrincipal(objectID) || kind != wanted {
		return nil, fmt.Errorf("(PrincipalNotFound) %s %s does not exist in the directory", kind, objectID)
	}
	for _, v := range a.vaults {
		if v.id() != scope {
			continue
		}
		v.roles[objectID] = append(v.roles[objectID], name)
		v.early = v.early || objectID == person
		var reads []string
		for _, name := range v.roles[objectID] {
			reads = append(reads, roles()[name].reads...)
		}
		return map[string]any{"scope": scope, "principalId": objectID},
			a.Emulator.Permit(ctx, v.name, objectID, reads...)
	}
	return nil, fmt.Errorf("(MissingSubscription) nothing has the id %q", scope)
}

// findWritableVault gives a vault that the person may write objects of a kind into.
func (a *Azure) findWritableVault(o options, kind string) (*vault, error) {
	v, err := a.findVault(o.one("vault-name"))
	if err != nil {
		return nil, err
	}
	if !objectName.MatchString(o.one("name")) {
		return nil, fmt.Errorf("(BadParameter) '%s' is not a name of a %s", o.one("name"), kind)
	}
	forbidden := fmt.Errorf(
		"(Forbidden) Caller is not authorized to perform action on resource: %ss/%s (ForbiddenByRbac)",
		kind,
		o.one("name"),
	)
	if !slices.ContainsFunc(
		v.roles[person],
		func(name string) bool { return slices.Contains(roles()[name].writes, kind) },
	) {
		return nil, forbidden
	}
	if v.early {
		v.early = false
		return nil, notYet{forbidden}
	}
	return v, nil
}

func (a *Azure) setSecret(ctx context.Context, o options) (any, error) {
	v, err := a.findWritableVault(o, "secret")
	if err != nil {
		return nil, err
	}
	if o.has("value") == o.has("file") {
		return nil, errors.New("specify either --value or --file")
	}
	secret := keyvault.Secret{Value: o.one("value"), ContentType: o.one("content-type"), Tags: map[string]string{}}
	if o.has("file") {
		if secret.Value, err = o.file(o.one("file")); err != nil {
			return nil, err
		}
	}
	for _, tag := range o.values["tags"] {
		name, value, _ := strings.Cut(tag, "=")
		secret.Tags[name] = value
	}
	id := fmt.Sprintf("https://%s.vault.azure.net/secrets/%s", v.name, o.one("name"))
	return map[string]any{"id": id}, a.Emulator.PutSecret(ctx, v.name, o.one("name"), secret)
}

// createCertificate makes one that is signed by itself; the stand-in knows no other policy than the default.
func (a *Azure) createCertificate(ctx context.Context, o options) (any, error) {
	v, err := a.findWritableVault(o, "certificate")
	if err != nil {
		return nil, err
	}
	var policy struct {
		IssuerParameters struct{ Name string }
	}
	if err := json.Unmarshal([]byte(o.one("policy")), &policy); err != nil || policy.IssuerParameters.Name != "Self" {
		return nil, errors.New(
			"argument --policy: it is not the JSON of a policy; use az keyvault certificate get-default-policy",
		)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "CLIGetDefaultPolicy"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	content, err := pkcs12.Modern.Encode(key, leaf, nil, "") // the default policy wants a PFX
	if err != nil {
		return nil, err
	}
	c := keyvault.Certificate{Value: base64.StdEncoding.EncodeToString(content)}
	return map[string]any{"status": "completed"}, a.Emulator.PutCertificate(ctx, v.name, o.one("name"), c)
}

func (a *Azure) createKey(ctx context.Context, o options) (any, error) {
	v, err := a.findWritableVault(o, "key")
	if err != nil {
		return nil, err
	}
	var public any
	switch kind := o.one("kty"); kind {
	case "RSA", "":
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		public = key.Public()
	case "EC":
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		public = key.Public()
	default:
		return nil, fmt.Errorf("argument --kty: invalid choice: '%s'", kind)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	content := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return map[string]any{
			"name": o.one("name"),
		}, a.Emulator.PutKey(
			ctx,
			v.name,
			o.one("name"),
			keyvault.Key{PEM: string(content)},
		)
}
