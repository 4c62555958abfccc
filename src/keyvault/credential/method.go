package credential

import (
	"context"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

func (c Config) clientSecret(app application, secret string) (azcore.TokenCredential, error) {
	credential, err := azidentity.NewClientSecretCredential(app.tenant, app.client, secret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: c.options(), DisableInstanceDiscovery: c.Cloud.Private})
	return app.classified(credential, err)
}

func (c Config) certificate(app application, path, password string, files *watched) (azcore.TokenCredential, error) {
	content, err := files.read(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the certificate %s can't be read (%s); mount it there, and give the path by %s", path, why(err), envCertPath)
	}
	certs, key, err := parseCertificate(content, password)
	if err != nil {
		return nil, err
	}
	credential, err := azidentity.NewClientCertificateCredential(app.tenant, app.client, certs, key,
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: c.options(), DisableInstanceDiscovery: c.Cloud.Private})
	return app.classified(credential, err)
}

func (c Config) password(app application, username, password string) (azcore.TokenCredential, error) {
	//nolint:staticcheck // Microsoft discourages it, and it is promised to those who have nothing else.
	credential, err := azidentity.NewUsernamePasswordCredential(app.tenant, app.client, username, password,
		&azidentity.UsernamePasswordCredentialOptions{ClientOptions: c.options(), DisableInstanceDiscovery: c.Cloud.Private})
	return app.classified(credential, err)
}

// workload exchanges the token that the kubelet keeps in a file. It is read for each exchange; the SDK's own credential would keep an old
// one for ten minutes.
func (c Config) workload(app application, path string) (azcore.TokenCredential, error) {
	read := func() (string, error) {
		content, err := c.ReadFile(path)
		if err != nil {
			return "", fault.New(fault.Unauthenticated, "the federated token %s can't be read (%s); see whether the pod has the label "+
				"azure.workload.identity/use=true and was made after the workload-identity webhook", path, why(err))
		}
		return strings.TrimSpace(string(content)), nil
	}
	if proxy, _ := c.Lookup(envTokenProxy); proxy != "" {
		return c.bound(app, path, read)
	}
	return c.federated(app, func(context.Context) (string, error) { return read() })
}

// bound is an identity binding of AKS: the token is exchanged by the cluster's own proxy, which the SDK finds by the variables that AKS sets.
func (c Config) bound(app application, path string, read func() (string, error)) (azcore.TokenCredential, error) {
	app.origin = envTokenProxy
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: c.options(), TenantID: app.tenant,
		ClientID: app.client, TokenFilePath: path, EnableAzureProxy: true, DisableInstanceDiscovery: c.Cloud.Private})
	if err != nil {
		return nil, fault.New(fault.Invalid, "the identity binding can't be used; check %s and the other AZURE_KUBERNETES_ variables of the container, "+
			"which AKS sets, and the client id", envTokenProxy)
	}
	known := newClassified(credential, app.String())
	known.tenant = app.tenant
	known.before = func() error {
		_, err := read()
		return err
	}
	return known, nil
}

// federated exchanges tokens of somebody else, whom the application trusts. Errors of assertion are of package fault, and are given as they are.
func (c Config) federated(app application, assertion func(context.Context) (string, error)) (azcore.TokenCredential, error) {
	// What the SDK makes of such an error would say nothing of its kind. Only one asks at a time, so a variable will do.
	var failed error
	read := func(ctx context.Context) (text string, err error) {
		text, failed = assertion(ctx)
		return text, failed
	}
	credential, err := azidentity.NewClientAssertionCredential(app.tenant, app.client, read,
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: c.options(), DisableInstanceDiscovery: c.Cloud.Private})
	if err != nil {
		return app.classified(nil, err)
	}
	known := newClassified(credential, app.String())
	known.tenant = app.tenant
	known.before = func() error { return failed }
	return known, nil
}

// classified wraps what the SDK made, or explains why it could not: it checks nothing but ids.
func (a application) classified(credential azcore.TokenCredential, err error) (azcore.TokenCredential, error) {
	if err != nil {
		return nil, fault.New(fault.Invalid, "the tenant id %q or the client id %q is not valid; use the UUIDs that the portal shows", a.tenant, a.client)
	}
	known := newClassified(credential, a.String())
	known.tenant = a.tenant
	return known, nil
}

// managedIdentity is user-assigned if an id is given (a client id, an object id, or a resource id, which is a path), else system-assigned.
func (c Config) managedIdentity(id, origin string) (azcore.TokenCredential, error) {
	switch {
	case id == "":
		return c.managed(nil, "the system-assigned managed identity ("+origin+")")
	case strings.HasPrefix(id, "/"):
		return c.managed(azidentity.ResourceID(id), "the managed identity "+id+" ("+origin+")")
	}
	// A client id and an object id look alike, so the second is tried where the first is not known.
	who := "the managed identity with client id or object id " + id + " (" + origin + ")"
	byClient, err := c.managed(azidentity.ClientID(id), who)
	if err != nil {
		return nil, err
	}
	byObject, err := c.managed(azidentity.ObjectID(id), who)
	if err != nil {
		return nil, err
	}
	return newEither(byClient, byObject), nil
}

func (c Config) managed(id azidentity.ManagedIDKind, who string) (azcore.TokenCredential, error) {
	options := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: c.options(), ID: id}
	heard := &answers{next: c.Transport}
	options.Transport = heard
	credential, err := azidentity.NewManagedIdentityCredential(options)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s can't be used here; check the environment variables of other identity providers", who)
	}
	known := newClassified(credential, who)
	known.answers = heard
	return known, nil
}

// defaultChain leaves everything to the SDK, which reads the environment of the process itself.
func (c Config) defaultChain() (azcore.TokenCredential, error) {
	credential, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: c.options(), DisableInstanceDiscovery: c.Cloud.Private})
	if err != nil {
		return nil, fault.New(fault.Invalid, "the SDK's default chain finds no credential; check the AZURE_ variables, or use keyVaultAuth %s", Environment)
	}
	return newClassified(credential, "the first credential of the SDK's default chain that works"), nil
}
