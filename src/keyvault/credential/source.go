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
	envTenantID        = "AZURE_TENANT_ID"
	envClientID        = "AZURE_CLIENT_ID"
	envClientSecret    = "AZURE_CLIENT_SECRET"
	envCertPath        = "AZURE_CERTIFICATE_PATH"
	envCertPassword    = "AZURE_CERTIFICATE_PASSWORD"
	envSDKCertPath     = "AZURE_CLIENT_CERTIFICATE_PATH"
	envSDKCertPassword = "AZURE_CLIENT_CERTIFICATE_PASSWORD"
	envUsername        = "AZURE_USERNAME"
	envPassword        = "AZURE_PASSWORD"
	envTokenFile       = "AZURE_FEDERATED_TOKEN_FILE"
	envTokenProxy      = "AZURE_KUBERNETES_TOKEN_PROXY"
)

// application identifies an Entra ID application; source is the setting that names it.
type application struct{ tenantID, clientID, source string }

func (a application) String() string {
	return fmt.Sprintf("client %s of tenant %s (%s)", a.clientID, a.tenantID, a.source)
}

// fromCloudConfig creates the credential that azure.json describes: the managed identity if it is enabled, else the
// client secret, else the certificate.
func (c Config) fromCloudConfig(files *watchedFiles) (azcore.TokenCredential, error) {
	content, err := files.read(c.CloudConfigFile)
	if err != nil {
		return nil, fault.NewWithNextStep(fault.Invalid,
			"allow the host path in the pod's policy, or set keyVaultAuth to "+string(ModeEnvironment),
			"azure.json can't be read (%s)", fileErrorReason(err))
	}
	file, err := cloud.ParseAzureJSON(content)
	if err != nil {
		return nil, err
	}
	if file.HasManagedIdentity() {
		return c.managedIdentityCredential(managedIdentity{id: file.UserAssignedIdentityID, source: "azure.json",
			settingName: "userAssignedIdentityID in azure.json, or with keyVaultAuth " + string(ModeEnvironment) + " " +
				envClientID + ","})
	}
	missing := missingNames(map[string]string{"tenantId": file.TenantID, "aadClientId": file.ClientID}, "tenantId",
		"aadClientId")
	if file.ClientSecret == "" && file.ClientCertPath == "" {
		missing = append(missing, "aadClientSecret")
	}
	if len(missing) > 0 {
		return nil, fault.NewWithNextStep(fault.Invalid,
			"set keyVaultAuth to "+string(ModeEnvironment)+" and configure credentials",
			"azure.json describes no identity: useManagedIdentityExtension is off and %s missing",
			joinWithVerb(missing))
	}
	if file.ClientSecret != "" {
		return c.clientSecretCredential(application{file.TenantID, file.ClientID, "secret in azure.json"},
			file.ClientSecret)
	}
	return c.certificateCredential(application{file.TenantID, file.ClientID, "certificate of azure.json"},
		file.ClientCertPath,
		file.ClientCertPassword, files)
}

// fromEnvironment creates the credential of the first method that is set: client secret, certificate, username and
// password, workload identity, managed identity. An incomplete method is an error; the next method is not tried.
func (c Config) fromEnvironment(files *watchedFiles) (azcore.TokenCredential, error) {
	env := c.readEnvironment()
	if env[envCertPath] == "" && env[envCertPassword] != "" {
		return nil, fault.NewWithNextStep(fault.Invalid, "set "+envCertPath+" too, or remove "+envCertPassword,
			"%s is set, but %s is missing", envCertPassword, envCertPath)
	}
	app := application{tenantID: env[envTenantID], clientID: env[envClientID]}
	switch {
	case env[envClientSecret] != "":
		app.source = envClientSecret
		return buildIfComplete(env, app, func() (azcore.TokenCredential,
			error) {
			return c.clientSecretCredential(app, env[envClientSecret])
		})
	case env[envCertPath] != "":
		app.source = envCertPath
		return buildIfComplete(env, app, func() (azcore.TokenCredential, error) {
			return c.certificateCredential(app, env[envCertPath], env[envCertPassword], files)
		})
	case env[envUsername] != "" || env[envPassword] != "":
		app.source = envUsername
		return buildIfComplete(env, app, func() (azcore.TokenCredential,
			error) {
			return c.passwordCredential(app, env[envUsername], env[envPassword])
		}, envUsername, envPassword)
	case env[envTokenFile] != "":
		app.source = envTokenFile
		return buildIfComplete(env, app, func() (azcore.TokenCredential,
			error) {
			return c.workloadCredential(app, env[envTokenFile])
		})
	case env[envTenantID] != "":
		return nil, incompleteEnvError(env)
	}
	return c.managedIdentityCredential(managedIdentity{id: env[envClientID],
		source:      "no credentials in the environment",
		settingName: envClientID, hint: c.WorkloadIdentityHint()})
}

// incompleteEnvError returns the error of a tenant id without credentials. v1 used the managed identity in this case,
// so the advice includes it.
func incompleteEnvError(env map[string]string) error {
	missing := append(missingNames(env, envClientID), envClientSecret)
	return fault.NewWithNextStep(fault.Invalid,
		fmt.Sprintf("for an application set one of them; for workload identity give the pod the label %s; "+
			"for a managed identity, which akv2k8s 1.8 used here, remove %s and keep %s", workloadIdentityLabel,
			envTenantID,
			envClientID),
		"the credentials in the environment are incomplete: %s missing (or %s, or %s and %s, or %s)",
		joinWithVerb(missing), envCertPath, envUsername, envPassword, envTokenFile)
}

// workloadIdentityLabel is the label with which the Azure Workload Identity webhook gives a pod its token.
const workloadIdentityLabel = `azure.workload.identity/use: "true"`

// envAnnotatedClientID is the variable that the chart sets to the client id in the ServiceAccount's annotation.
const envAnnotatedClientID = "AKV2K8S_SERVICE_ACCOUNT_CLIENT_ID"

// WorkloadIdentityHint returns advice for a rejected managed identity of the node, which is used by mistake if workload
// identity is configured but the pod has no token. The advice begins with a semicolon; it is empty if another identity
// is configured.
func (c Config) WorkloadIdentityHint() string {
	env := c.readEnvironment()
	if c.Mode == ModeCloudConfig || env[envTokenFile] != "" ||
		env[envClientSecret]+env[envCertPath]+env[envUsername]+env[envPassword] != "" {
		return ""
	}
	if annotated, _ := c.LookupEnv(envAnnotatedClientID); annotated != "" {
		return "; the ServiceAccount has the annotation azure.workload.identity/client-id, but the pod has no token " +
			"for it: set podLabels to {" + workloadIdentityLabel + "}"
	}
	return "; to use workload identity, the pod needs the label " + workloadIdentityLabel
}

// EnvironmentVariables returns the names of the environment variables of mode Environment.
func EnvironmentVariables() []string {
	return []string{envTenantID, envClientID, envClientSecret, envCertPath, envCertPassword, envSDKCertPath,
		envSDKCertPassword,
		envUsername, envPassword, envTokenFile}
}

// readEnvironment returns the values of these variables, with the certificate's under the spelling of v1.
func (c Config) readEnvironment() map[string]string {
	env := map[string]string{}
	for _, name := range EnvironmentVariables() {
		env[name], _ = c.LookupEnv(name)
	}
	for _, name := range []string{envTenantID, envClientID, envCertPath, envUsername, envTokenFile} {
		env[name] = strings.TrimSpace(env[name]) // an editor can add a newline at the end
	}
	for first, second := range map[string]string{envCertPath: envSDKCertPath, envCertPassword: envSDKCertPassword} {
		if env[first] == "" {
			env[first], _ = c.LookupEnv(second)
			if first == envCertPath {
				env[first] = strings.TrimSpace(env[first])
			}
		}
	}
	return env
}

// buildIfComplete creates the credential, or returns an error if a variable of the method is missing.
func buildIfComplete(env map[string]string, app application, build func() (azcore.TokenCredential, error),
	besides ...string) (azcore.TokenCredential, error) {
	if missing := missingNames(env, append([]string{envTenantID, envClientID}, besides...)...); len(missing) > 0 {
		return nil, fault.NewWithNextStep(fault.Invalid,
			"set "+strings.Join(missing, " and ")+" too, or remove "+app.source,
			"the credentials in the environment are incomplete: %s is set, but %s missing", app.source,
			joinWithVerb(missing))
	}
	return build()
}

func missingNames(values map[string]string, names ...string) []string {
	var missing []string
	for _, name := range names {
		if values[name] == "" {
			missing = append(missing, name)
		}
	}
	return missing
}

func joinWithVerb(names []string) string {
	if len(names) == 1 {
		return names[0] + " is"
	}
	return strings.Join(names, ", ") + " are"
}
