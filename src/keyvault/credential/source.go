package credential

import (
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
)

// The environment variables of mode Environment. The variables of the certificate have two spellings: v1's and the
// SDK's.
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

// application identifies an Entra ID application; source is the setting that names it.
type application struct{ tenant, client, origin string }

func (a application) String() string {
	return fmt.Sprintf("client %s of tenant %s (%s)", a.client, a.tenant, a.origin)
}

// fromFile creates the credential that azure.json describes: the managed identity if it is enabled, else the client
// secret, else the certificate.
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
			"set keyVaultAuth to "+string(Environment)+" and configure credentials",
			"azure.json describes no identity: useManagedIdentityExtension is off and %s missing", list(missing))
	}
	if file.ClientSecret != "" {
		return c.clientSecret(application{file.TenantID, file.ClientID, "secret in azure.json"}, file.ClientSecret)
	}
	return c.certificate(application{file.TenantID, file.ClientID, "certificate of azure.json"}, file.ClientCertPath,
		file.ClientCertPassword, files)
}

// fromEnvironment creates the credential of the first method that is set: client secret, certificate, username and
// password, workload identity, managed identity. An incomplete method is an error; the next method is not tried.
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

// halfSet returns the error of a tenant id without credentials. v1 used the managed identity in this case, so the
// advice includes it.
func halfSet(env map[string]string) error {
	missing := append(absent(env, envClient), envSecret)
	return fault.Advise(fault.Invalid,
		fmt.Sprintf("for an application set one of them; for workload identity give the pod the label %s; "+
			"for a managed identity, which akv2k8s 1.8 used here, remove %s and keep %s", useLabel, envTenant,
			envClient),
		"the credentials in the environment are half set: %s missing (or %s, or %s and %s, or %s)",
		list(missing), envCertPath, envUsername, envPassword, envTokenFile)
}

// useLabel is the label with which the Azure Workload Identity webhook gives a pod its token.
const useLabel = `azure.workload.identity/use: "true"`

// envAnnotated is the variable that the chart sets to the client id in the ServiceAccount's annotation.
const envAnnotated = "AKV2K8S_SERVICE_ACCOUNT_CLIENT_ID"

// Hint returns advice for a rejected managed identity of the node, which is used by mistake if workload identity is
// configured but the pod has no token. The advice begins with a semicolon; it is empty if another identity is
// configured.
func (c Config) Hint() string {
	env := c.variables()
	if c.Mode == CloudConfig || env[envTokenFile] != "" ||
		env[envSecret]+env[envCertPath]+env[envUsername]+env[envPassword] != "" {
		return ""
	}
	if annotated, _ := c.Lookup(envAnnotated); annotated != "" {
		return "; the ServiceAccount has the annotation azure.workload.identity/client-id, but the pod has no token " +
			"for it: set podLabels to {" + useLabel + "}"
	}
	return "; to use workload identity, the pod needs the label " + useLabel
}

// Variables returns the names of the environment variables of mode Environment.
func Variables() []string {
	return []string{envTenant, envClient, envSecret, envCertPath, envCertPassword, envSDKPath, envSDKPassword,
		envUsername, envPassword, envTokenFile}
}

// variables returns the values of these variables, with the certificate's under the spelling of v1.
func (c Config) variables() map[string]string {
	env := map[string]string{}
	for _, name := range Variables() {
		env[name], _ = c.Lookup(name)
	}
	for _, name := range []string{envTenant, envClient, envCertPath, envUsername, envTokenFile} {
		env[name] = strings.TrimSpace(env[name]) // an editor can add a newline at the end
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

// orMissing creates the credential, or returns an error if a variable of the method is missing.
func orMissing(env map[string]string, app application, build func() (azcore.TokenCredential, error),
	besides ...string) (azcore.TokenCredential, error) {
	if missing := absent(env, append([]string{envTenant, envClient}, besides...)...); len(missing) > 0 {
		return nil, fault.Advise(fault.Invalid, "set "+strings.Join(missing, " and ")+" too, or remove "+app.origin,
			"the credentials in the environment are half set: %s is set, but %s missing", app.origin, list(missing))
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
