package credential

import (
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
)

// The environment variables of mode Environment. The certificate's have two spellings: the predecessor's and the SDK's.
const (
	envTenant       = "AZURE_TENANT_ID"
	envClient       = "AZURE_CLIENT_ID"
	envSecret       = "AZURE_CLIENT_SECRET"
	envCertPath     = "AZURE_CERTIFICATE_PATH"
	envCertPassword = "AZURE_CERTIFICATE_PASSWORD"
	envSDKPath      = "AZURE_CLIENT_CERTIFICATE_PATH"
	envSDKPassword  = "AZURE_CLIENT_CERTIFICATE_PASSWORD"
	envUsername     = "AZURE_USERNAME"
	envPassword     = "AZURE_PASSWORD"
	envTokenFile    = "AZURE_FEDERATED_TOKEN_FILE"
	envTokenProxy   = "AZURE_KUBERNETES_TOKEN_PROXY"
)

// application is who asks for a token, and where it was said.
type application struct{ tenant, client, origin string }

func (a application) String() string {
	return fmt.Sprintf("client %s of tenant %s (%s)", a.client, a.tenant, a.origin)
}

// fromFile follows azure.json: managed identity first if it is enabled, then secret, then certificate.
func (c Config) fromFile(files *watched) (azcore.TokenCredential, error) {
	content, err := files.read(c.CloudConfigFile)
	if err != nil {
		return nil, fault.Advise(fault.Invalid,
			"allow the host path in the pod's policy, or set keyVaultAuth to "+string(Environment),
			"azure.json can't be read (%s)", why(err))
	}
	file, err := cloud.ParseConfig(content)
	if err != nil {
		return nil, err
	}
	if file.ManagedIdentity() {
		return c.managedIdentity(managed{id: file.UserAssignedIdentityID, origin: "azure.json",
			variable: "userAssignedIdentityID in azure.json, or with keyVaultAuth " + string(Environment) + " " +
				envClient + ","})
	}
	missing := absent(map[string]string{"tenantId": file.TenantID, "aadClientId": file.ClientID}, "tenantId",
		"aadClientId")
	if file.ClientSecret == "" && file.ClientCertPath == "" {
		missing = append(missing, "aadClientSecret")
	}
	if len(missing) > 0 {
		return nil, fault.Advise(fault.Invalid,
			"set keyVaultAuth to "+string(Environment)+" and give credentials of your own",
			"azure.json describes no identity: useManagedIdentityExtension is off and %s missing", list(missing))
	}
	if file.ClientSecret != "" {
		return c.clientSecret(application{file.TenantID, file.ClientID, "secret in azure.json"}, file.ClientSecret)
	}
	return c.certificate(application{file.TenantID, file.ClientID, "certificate of azure.json"}, file.ClientCertPath,
		file.ClientCertPassword, files)
}

// fromEnvironment takes the first method that is set: client secret, certificate, username and password, workload
// identity, managed identity. A method that is half set is refused, never passed over.
func (c Config) fromEnvironment(files *watched) (azcore.TokenCredential, error) {
	env := c.variables()
	if env[envCertPath] == "" && env[envCertPassword] != "" {
		return nil, fault.Advise(fault.Invalid, "set "+envCertPath+" too, or remove "+envCertPassword,
			"%s is set, but %s is missing", envCertPassword, envCertPath)
	}
	app := application{tenant: env[envTenant], client: env[envClient]}
	switch {
	case env[envSecret] != "":
		app.origin = envSecret
		return orMissing(env, app, func() (azcore.TokenCredential,
			error) {
			return c.clientSecret(app, env[envSecret])
		})
	case env[envCertPath] != "":
		app.origin = envCertPath
		return orMissing(env, app, func() (azcore.TokenCredential, error) {
			return c.certificate(app, env[envCertPath], env[envCertPassword], files)
		})
	case env[envUsername] != "" || env[envPassword] != "":
		app.origin = envUsername
		return orMissing(env, app, func() (azcore.TokenCredential,
			error) {
			return c.password(app, env[envUsername], env[envPassword])
		}, envUsername, envPassword)
	case env[envTokenFile] != "":
		app.origin = envTokenFile
		return orMissing(env, app, func() (azcore.TokenCredential, error) { return c.workload(app, env[envTokenFile]) })
	case env[envTenant] != "":
		return nil, halfSet(env)
	}
	return c.managedIdentity(managed{id: env[envClient], origin: "no credentials in the environment",
		variable: envClient, hint: c.Hint()})
}

// halfSet is the error of a tenant without anything to prove an identity with. akv2k8s 1.8 took the managed identity
// for that, so the way there is said.
func halfSet(env map[string]string) error {
	missing := append(absent(env, envClient), envSecret)
	return fault.Advise(fault.Invalid,
		fmt.Sprintf("for an application set one of them; for workload identity give the pod the label %s; "+
			"for a managed identity, which akv2k8s 1.8 took here, remove %s and leave %s", useLabel, envTenant,
			envClient),
		"the credentials in the environment are half set: %s missing (or %s, or %s and %s, or %s)",
		list(missing), envCertPath, envUsername, envPassword, envTokenFile)
}

// useLabel is what makes the workload-identity webhook give a pod its token.
const useLabel = `azure.workload.identity/use: "true"`

// envAnnotated is set by the chart to the client id that the ServiceAccount is annotated with.
const envAnnotated = "AKV2K8S_SERVICE_ACCOUNT_CLIENT_ID"

// Hint is advice for the case that the node's identity is refused although nobody meant it: workload identity falls
// back to it where the pod has no token. It begins with a semicolon; it is empty where another identity was chosen.
func (c Config) Hint() string {
	env := c.variables()
	if c.Mode == CloudConfig || env[envTokenFile] != "" ||
		env[envSecret]+env[envCertPath]+env[envUsername]+env[envPassword] != "" {
		return ""
	}
	if annotated, _ := c.Lookup(envAnnotated); annotated != "" {
		return "; the ServiceAccount has the annotation azure.workload.identity/client-id, but the pod has no token " +
			"of it: set podLabels to {" + useLabel + "}"
	}
	return "; if workload identity is meant, the pod needs the label " + useLabel
}

// Variables are the environment variables of mode Environment.
func Variables() []string {
	return []string{envTenant, envClient, envSecret, envCertPath, envCertPassword, envSDKPath, envSDKPassword,
		envUsername, envPassword, envTokenFile}
}

// variables are the ones above, the certificate's under their first spelling.
func (c Config) variables() map[string]string {
	env := map[string]string{}
	for _, name := range Variables() {
		env[name], _ = c.Lookup(name)
	}
	for _, name := range []string{envTenant, envClient, envCertPath, envUsername, envTokenFile} {
		env[name] = strings.TrimSpace(env[name]) // no id, path or user name ends with the newline of an editor
	}
	for first, second := range map[string]string{envCertPath: envSDKPath, envCertPassword: envSDKPassword} {
		if env[first] == "" {
			env[first], _ = c.Lookup(second)
			if first == envCertPath {
				env[first] = strings.TrimSpace(env[first])
			}
		}
	}
	return env
}

// orMissing makes the credential if everything that the method needs is there.
func orMissing(env map[string]string, app application, build func() (azcore.TokenCredential, error),
	besides ...string) (azcore.TokenCredential, error) {
	if missing := absent(env, append([]string{envTenant, envClient}, besides...)...); len(missing) > 0 {
		return nil, fault.Advise(fault.Invalid, "set "+strings.Join(missing, " and ")+" too, or remove "+app.origin,
			"the credentials in the environment are half set: %s is there, but %s missing", app.origin, list(missing))
	}
	return build()
}

func absent(values map[string]string, names ...string) []string {
	var missing []string
	for _, name := range names {
		if values[name] == "" {
			missing = append(missing, name)
		}
	}
	return missing
}

func list(names []string) string {
	if len(names) == 1 {
		return names[0] + " is"
	}
	return strings.Join(names, ", ") + " are"
}
