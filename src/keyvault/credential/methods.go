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

func (c Config) clientSecretCredential(app application, secret string) (azcore.TokenCredential, error) {
	options, heard := c.clientOptions()
	credential, err := azidentity.NewClientSecretCredential(app.tenantID, app.clientID, secret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: c.Cloud.IsPrivate})
	return app.wrapCredential(credential, heard, err, whitespaceHint(app.source, secret))
}

func (c Config) certificateCredential(app application, path, password string,
	files *watchedFiles) (azcore.TokenCredential, error) {
	content, err := files.read(path)
	if err != nil {
		return nil, fault.NewWithNextStep(fault.Invalid, "mount it there, or correct the path in "+envCertPath,
			"the certificate %s can't be read (%s)", path, fileErrorReason(err))
	}
	certs, key, err := parseCertificate(content, password)
	if err != nil {
		return nil, err
	}
	options, heard := c.clientOptions()
	credential, err := azidentity.NewClientCertificateCredential(app.tenantID, app.clientID, certs, key,
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: options,
			DisableInstanceDiscovery: c.Cloud.IsPrivate})
	return app.wrapCredential(credential, heard, err, "")
}

func (c Config) passwordCredential(app application, username, password string) (azcore.TokenCredential, error) {
	options, heard := c.clientOptions()
	//nolint:staticcheck // deprecated by Microsoft, but part of the v1 contract
	credential, err := azidentity.NewUsernamePasswordCredential(app.tenantID, app.clientID, username, password,
		&azidentity.UsernamePasswordCredentialOptions{ClientOptions: options,
			DisableInstanceDiscovery: c.Cloud.IsPrivate})
	return app.wrapCredential(credential, heard, err, whitespaceHint(envPassword, password))
}

// workloadCredential exchanges the token that the kubelet keeps in a file. It reads the file for each exchange, because
// the SDK's own credential caches an old token for ten minutes.
func (c Config) workloadCredential(app application, path string) (azcore.TokenCredential, error) {
	read := func() (string, error) {
		content, err := c.ReadFile(path)
		if err == nil && len(content) > limits.CredentialFileBytes {
			err = errors.New("it is larger than " + limits.Bytes(limits.CredentialFileBytes))
		}
		if err != nil {
			return "", fault.NewWithNextStep(fault.Unauthenticated,
				"check that the pod has the label azure.workload.identity/use: \"true\" and was created after the "+
					"workload-identity webhook was installed",
				"the federated token %s can't be read (%s)", path, fileErrorReason(err))
		}
		return strings.TrimSpace(string(content)), nil
	}
	if proxy, _ := c.LookupEnv(envTokenProxy); proxy != "" {
		return c.identityBindingCredential(app, path, read)
	}
	return c.federatedCredential(app, func(context.Context) (string, error) { return read() })
}

// identityBindingCredential creates the credential of an AKS identity binding: a proxy of the cluster exchanges the
// token. The SDK finds the proxy by variables that AKS sets.
func (c Config) identityBindingCredential(app application, path string,
	read func() (string, error)) (azcore.TokenCredential, error) {
	app.source = envTokenProxy
	options, heard := c.clientOptions()
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions: options, TenantID: app.tenantID, ClientID: app.clientID, TokenFilePath: path,
		EnableAzureProxy: true, DisableInstanceDiscovery: c.Cloud.IsPrivate,
	})
	if err != nil {
		return nil, fault.NewWithNextStep(fault.Invalid,
			"check "+envTokenProxy+
				" and the other AZURE_KUBERNETES_ variables of the container, which AKS sets, and the client id",
			"the identity binding can't be used")
	}
	known := newClassifyingCredential(credential, heard, app.String())
	known.tenantID = app.tenantID
	known.precedingError = func() error {
		_, err := read()
		return err
	}
	return known, nil
}

// federatedCredential exchanges tokens of an issuer that the application trusts. Errors of assertion are of package
// fault and are returned unchanged.
func (c Config) federatedCredential(app application,
	assertion func(context.Context) (string, error)) (azcore.TokenCredential,
	error) {
	// The SDK would hide the kind of an error of assertion, so it is kept in a variable. GetToken of the wrapper runs
	// one request at a time, so one variable is enough.
	var failed error
	read := func(ctx context.Context) (text string, err error) {
		text, failed = assertion(ctx)
		return text, failed
	}
	options, heard := c.clientOptions()
	credential, err := azidentity.NewClientAssertionCredential(app.tenantID, app.clientID, read,
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: options,
			DisableInstanceDiscovery: c.Cloud.IsPrivate})
	if err != nil {
		return app.wrapCredential(nil, heard, err, "")
	}
	known := newClassifyingCredential(credential, heard, app.String())
	known.tenantID = app.tenantID
	known.precedingError = func() error { return failed }
	return known, nil
}

// wrapCredential wraps a credential of the SDK, or explains err; the SDK's constructors check only the format of ids.
// blank is advice about whitespace in a secret.
func (a application) wrapCredential(credential azcore.TokenCredential, heard *recordingTransport, err error,
	blank string) (azcore.TokenCredential, error) {
	if err != nil {
		return nil, fault.NewWithNextStep(fault.Invalid, "use the UUIDs from the Azure portal",
			"the tenant id %q or the client id %q is not valid", a.tenantID, a.clientID)
	}
	known := newClassifyingCredential(credential, heard, a.String())
	known.tenantID = a.tenantID
	known.messageFacts["tenant"], known.messageFacts["blank"] = a.tenantID, blank
	return known, nil
}

// whitespaceHint returns advice if a secret begins or ends with whitespace, else "". The secret itself is not trimmed,
// because the whitespace can be part of it.
func whitespaceHint(name, secret string) string {
	if strings.TrimSpace(secret) == secret {
		return ""
	}
	return "; " + name +
		" begins or ends with a blank or a newline, which is part of the value: remove it (use printf, or kubectl " +
		"create secret --from-literal)"
}

// managedIdentity describes a managed identity and the setting that selects it.
type managedIdentity struct {
	// id is a client id, an object id, or a resource id (a path); empty for the system-assigned identity.
	id string
	// source is the setting that selected the identity, for messages; settingName is the setting that can select
	// another.
	source, settingName string
	// hint is advice for the case that the identity is unavailable.
	hint string
}

// managedIdentityCredential returns the credential of the user-assigned identity with the given id, or of the
// system-assigned identity.
func (c Config) managedIdentityCredential(m managedIdentity) (azcore.TokenCredential, error) {
	switch {
	case m.id == "":
		return c.newManagedIdentity(m, nil, "the system-assigned managed identity ("+m.source+")")
	case strings.HasPrefix(m.id, "/"):
		return c.newManagedIdentity(m, azidentity.ResourceID(m.id), "the managed identity "+m.id+" ("+m.source+")")
	}
	// Client ids and object ids have the same format, so an id that is unknown as a client id is tried as an object id.
	who := "the managed identity with client id or object id " + m.id + " (" + m.source + ")"
	byClient, err := c.newManagedIdentity(m, azidentity.ClientID(m.id), who)
	if err != nil {
		return nil, err
	}
	byObject, err := c.newManagedIdentity(m, azidentity.ObjectID(m.id), who)
	if err != nil {
		return nil, err
	}
	return newCredentialPair(byClient, byObject), nil
}

func (c Config) newManagedIdentity(m managedIdentity, id azidentity.ManagedIDKind, who string) (azcore.TokenCredential,
	error) {
	options, heard := c.clientOptions()
	credential, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{
		ClientOptions: options, ID: id,
	})
	if err != nil {
		return nil, fault.NewWithNextStep(fault.Invalid, "check the environment variables of other identity providers",
			"%s can't be used here", who)
	}
	known := newClassifyingCredential(credential, heard, who)
	known.messageFacts["variable"], known.messageFacts["hint"] = m.settingName, m.hint
	return known, nil
}

// defaultChainCredential uses the default credential chain of the SDK, which reads the environment of the process.
func (c Config) defaultChainCredential() (azcore.TokenCredential, error) {
	options, heard := c.clientOptions()
	credential, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
		ClientOptions: options, DisableInstanceDiscovery: c.Cloud.IsPrivate,
	})
	if err != nil {
		return nil, fault.NewWithNextStep(fault.Invalid,
			"check the AZURE_ variables, or use keyVaultAuth "+string(ModeEnvironment),
			"the SDK's default chain found no credential")
	}
	known := newClassifyingCredential(credential, heard, "the first credential of the SDK's default chain that works")
	known.messageFacts["variable"], known.messageFacts["hint"] = envClientID, c.WorkloadIdentityHint()
	return known, nil
}
