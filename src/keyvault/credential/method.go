package credential

import (
	"context"
	"errors"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

func (c Config) clientSecret(app application, secret string) (azcore.TokenCredential, error) {
	options, heard := c.options()
	credential, err := azidentity.NewClientSecretCredential(app.tenant, app.client, secret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: c.Cloud.Private})
	return app.classified(credential, heard, err, blanks(app.origin, secret))
}

func (c Config) certificate(app application, path, password string, files *watched) (azcore.TokenCredential, error) {
	content, err := files.read(path)
	if err != nil {
		return nil, fault.Advise(fault.Invalid, "mount it there, or correct the path in "+envCertPath,
			"the certificate %s can't be read (%s)", path, why(err))
	}
	certs, key, err := parseCertificate(content, password)
	if err != nil {
		return nil, err
	}
	options, heard := c.options()
	credential, err := azidentity.NewClientCertificateCredential(app.tenant, app.client, certs, key,
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: options,
			DisableInstanceDiscovery: c.Cloud.Private})
	return app.classified(credential, heard, err, "")
}

func (c Config) password(app application, username, password string) (azcore.TokenCredential, error) {
	options, heard := c.options()
	//nolint:staticcheck // deprecated by Microsoft, but part of the v1 contract
	credential, err := azidentity.NewUsernamePasswordCredential(app.tenant, app.client, username, password,
		&azidentity.UsernamePasswordCredentialOptions{ClientOptions: options,
			DisableInstanceDiscovery: c.Cloud.Private})
	return app.classified(credential, heard, err, blanks(envPassword, password))
}

// workload exchanges the token that the kubelet keeps in a file. It reads the file for each exchange, because the SDK's
// own credential caches an old token for ten minutes.
func (c Config) workload(app application, path string) (azcore.TokenCredential, error) {
	read := func() (string, error) {
		content, err := c.ReadFile(path)
		if err == nil && len(content) > limits.CredentialFileBytes {
			err = errors.New("it is larger than " + limits.Bytes(limits.CredentialFileBytes))
		}
		if err != nil {
			return "", fault.Advise(fault.Unauthenticated,
				"check that the pod has the label azure.workload.identity/use: \"true\" and was created after the "+
					"workload-identity webhook was installed",
				"the federated token %s can't be read (%s)", path, why(err))
		}
		return strings.TrimSpace(string(content)), nil
	}
	if proxy, _ := c.Lookup(envTokenProxy); proxy != "" {
		return c.bound(app, path, read)
	}
	return c.federated(app, func(context.Context) (string, error) { return read() })
}

// bound creates the credential of an AKS identity binding: a proxy of the cluster exchanges the token. The SDK finds
// the proxy by variables that AKS sets.
func (c Config) bound(app application, path string, read func() (string, error)) (azcore.TokenCredential, error) {
	app.origin = envTokenProxy
	options, heard := c.options()
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions: options, TenantID: app.tenant, ClientID: app.client, TokenFilePath: path,
		EnableAzureProxy: true, DisableInstanceDiscovery: c.Cloud.Private,
	})
	if err != nil {
		return nil, fault.Advise(fault.Invalid,
			"check "+envTokenProxy+
				" and the other AZURE_KUBERNETES_ variables of the container, which AKS sets, and the client id",
			"the identity binding can't be used")
	}
	known := newClassified(credential, heard, app.String())
	known.tenant = app.tenant
	known.before = func() error {
		_, err := read()
		return err
	}
	return known, nil
}

// federated exchanges tokens of an issuer that the application trusts. Errors of assertion are of package fault and are
// returned unchanged.
func (c Config) federated(app application, assertion func(context.Context) (string, error)) (azcore.TokenCredential,
	error) {
	// The SDK would hide the kind of an error of assertion, so it is kept in a variable. GetToken of the wrapper runs
	// one request at a time, so one variable is enough.
	var failed error
	read := func(ctx context.Context) (text string, err error) {
		text, failed = assertion(ctx)
		return text, failed
	}
	options, heard := c.options()
	credential, err := azidentity.NewClientAssertionCredential(app.tenant, app.client, read,
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: c.Cloud.Private})
	if err != nil {
		return app.classified(nil, heard, err, "")
	}
	known := newClassified(credential, heard, app.String())
	known.tenant = app.tenant
	known.before = func() error { return failed }
	return known, nil
}

// classified wraps a credential of the SDK, or explains err; the SDK's constructors check only the format of ids. blank
// is advice about whitespace in a secret.
func (a application) classified(credential azcore.TokenCredential, heard *heard, err error,
	blank string) (azcore.TokenCredential, error) {
	if err != nil {
		return nil, fault.Advise(fault.Invalid, "use the UUIDs from the Azure portal",
			"the tenant id %q or the client id %q is not valid", a.tenant, a.client)
	}
	known := newClassified(credential, heard, a.String())
	known.tenant = a.tenant
	known.facts["tenant"], known.facts["blank"] = a.tenant, blank
	return known, nil
}

// blanks returns advice if a secret begins or ends with whitespace, else "". The secret itself is not trimmed, because
// the whitespace can be part of it.
func blanks(name, secret string) string {
	if strings.TrimSpace(secret) == secret {
		return ""
	}
	return "; " + name +
		" begins or ends with a blank or a newline, which is part of the value: remove it (use printf, or kubectl " +
		"create secret --from-literal)"
}

// managed describes a managed identity and the setting that selects it.
type managed struct {
	// id is a client id, an object id, or a resource id (a path); empty for the system-assigned identity.
	id string
	// origin is the setting that selected the identity, for messages; settingName is the setting that can select
	// another.
	origin, variable string
	// hint is advice for the case that the identity is unavailable.
	hint string
}

// managedIdentity returns the credential of the user-assigned identity with the given id, or of the system-assigned
// identity.
func (c Config) managedIdentity(m managed) (azcore.TokenCredential, error) {
	switch {
	case m.id == "":
		return c.managed(m, nil, "the system-assigned managed identity ("+m.origin+")")
	case strings.HasPrefix(m.id, "/"):
		return c.managed(m, azidentity.ResourceID(m.id), "the managed identity "+m.id+" ("+m.origin+")")
	}
	// Client ids and object ids have the same format, so an id that is unknown as a client id is tried as an object id.
	who := "the managed identity with client id or object id " + m.id + " (" + m.origin + ")"
	byClient, err := c.managed(m, azidentity.ClientID(m.id), who)
	if err != nil {
		return nil, err
	}
	byObject, err := c.managed(m, azidentity.ObjectID(m.id), who)
	if err != nil {
		return nil, err
	}
	return newEither(byClient, byObject), nil
}

func (c Config) managed(m managed, id azidentity.ManagedIDKind, who string) (azcore.TokenCredential, error) {
	options, heard := c.options()
	credential, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{
		ClientOptions: options, ID: id,
	})
	if err != nil {
		return nil, fault.Advise(fault.Invalid, "check the environment variables of other identity providers",
			"%s can't be used here", who)
	}
	known := newClassified(credential, heard, who)
	known.facts["variable"], known.facts["hint"] = m.variable, m.hint
	return known, nil
}

// defaultChain uses the default credential chain of the SDK, which reads the environment of the process.
func (c Config) defaultChain() (azcore.TokenCredential, error) {
	options, heard := c.options()
	credential, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
		ClientOptions: options, DisableInstanceDiscovery: c.Cloud.Private,
	})
	if err != nil {
		return nil, fault.Advise(fault.Invalid, "check the AZURE_ variables, or use keyVaultAuth "+string(Environment),
			"the SDK's default chain found no credential")
	}
	known := newClassified(credential, heard, "the first credential of the SDK's default chain that works")
	known.facts["variable"], known.facts["hint"] = envClient, c.Hint()
	return known, nil
}
