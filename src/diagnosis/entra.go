package diagnosis

import "github.com/akv2k8s/akv2k8s/src/fault"

// federatedNextStep is the next step for a federated credential that does not match.
const federatedNextStep = "set the federated credential of the application to issuer, subject " +
	"(system:serviceaccount:NAMESPACE:NAME, in the same letter case) and audience (api://AzureADTokenExchange) of " +
	"the pod's token"

// useApplicationNextStep is the next step for a user who cannot sign in without interaction.
const useApplicationNextStep = "use a client secret, a certificate or a workload identity instead of a user"

func entraAnswers() []Answer {
	refused := func(code, cause, next string) Answer {
		return Answer{Entra, "", "AADSTS" + code, fault.Unauthenticated, cause, next}
	}
	return append(entraUsers(refused), []Answer{
		refused("7000215", "the client secret is wrong",
			"use the secret's value, and not its id{blank}"),
		refused("7000222", "the client secret has expired", "create a new one and update the credential"),
		refused("7000218", "the request has neither a client secret nor an assertion",
			"set AZURE_CLIENT_SECRET, a certificate or a federated token; for a user, allow public client flows in "+
				"the application"),
		refused("7000112", "the application is disabled",
			"enable the application (service principal) in the tenant, or use another one"),
		refused("7000229", "the application has no service principal in the tenant",
			"create it: az ad sp create --id CLIENT-ID; and check the tenant id"),
		refused("700016", "the application does not exist in the tenant", "check client id and tenant id"),
		refused("700027", "the certificate is not registered with the application, or has expired",
			"upload the certificate to the application, or renew it"),
		refused("700030",
			"the certificate is not valid for the application: its subject name or issuer is not trusted",
			"upload the certificate to the application, or correct the subject name and issuer that it trusts"),
		refused("700023", "the assertion is for another audience",
			"check the tenant id, and that the token is for api://AzureADTokenExchange"),
		refused("700024", "the assertion is not valid at this time", "check the clock of the node"),
		refused("70021", "no federated credential of the application matches the pod's token",
			federatedNextStep+"; a new one takes a few minutes"),
		refused("700211", "no federated credential of the application has the issuer of the pod's token",
			"set the issuer of the federated credential to the cluster's OIDC issuer URL, with its last slash: az "+
				"aks show --query oidcIssuerProfile.issuerUrl"),
		refused("700212", "no federated credential of the application has the audience of the pod's token",
			"set the audience of the federated credential to api://AzureADTokenExchange"),
		refused("7002121", "no federated credential of the application has the audience of the pod's token",
			"set the audience of the federated credential to api://AzureADTokenExchange"),
		refused("700213", "no federated credential of the application has the subject of the pod's token",
			"set the subject of the federated credential to system:serviceaccount:NAMESPACE:NAME of the pod's "+
				"ServiceAccount"),
		refused("7002138",
			"a federated credential of the application differs from the pod's token only in letter case",
			federatedNextStep),
		refused("700222", "tokens of Entra ID cannot be exchanged this way",
			"set the issuer of the federated credential to the cluster's OIDC issuer"),
		refused("90002", "the tenant does not exist", "check the tenant id and the cloud"),
		refused("900023", "the tenant id is neither an id nor a domain", "correct the tenant id"),
		refused("500011", "Key Vault does not exist as a resource in the tenant",
			"check the tenant id and the cloud; in a new tenant, register the resource provider Microsoft.KeyVault"),
		refused("500014", "Key Vault is disabled as a resource in the tenant",
			"check that the tenant has an active subscription, and enable the service principal of Azure Key Vault"),
		refused("65001", "the application has no consent", "let an administrator grant consent"),
		refused("70011", "the scope is not valid",
			"check the cloud, and resourceIdentifiers.keyVault of a private one"),
		refused("53003", "a Conditional Access policy blocks the sign-in",
			"exclude the identity from the policy, or make the cluster's address a trusted location"),
		{Entra, "", "AADSTS50196", fault.Throttled, "Entra ID received too many identical requests",
			"akv2k8s retries more slowly; find out what else signs in with this client id"},
		{Entra, "", "AADSTS90033", fault.Unavailable, "Entra ID is temporarily unavailable", "akv2k8s retries"},
		{Entra, "429", "", fault.Throttled, "Entra ID answered that there are too many requests",
			"akv2k8s retries more slowly; find out what else signs in with this client id"},
		{Entra, "5xx", "", fault.Unavailable, "Entra ID returned a server error",
			"akv2k8s retries; if the error persists, check Azure's status page"},
		{Entra, "200", "", fault.Unavailable, "Entra ID answered without a token",
			"check what answers at {host}; akv2k8s retries"},
		{Entra, "", "", fault.Unauthenticated, "Entra ID rejected the sign-in",
			"look up the code at https://login.microsoftonline.com/error"},
	}...)
}

// entraUsers returns the answers to the sign-in of a user.
func entraUsers(refused func(code, cause, next string) Answer) []Answer {
	return []Answer{
		refused("50020", "the user belongs to another tenant",
			"use an account of the tenant {tenant}, or "+useApplicationNextStep),
		refused("50034", "the user does not exist in the tenant", "correct AZURE_USERNAME and AZURE_TENANT_ID"),
		refused("50053", "the account is locked after too many wrong passwords, or the address is blocked",
			"unlock the account, then correct AZURE_PASSWORD; or "+useApplicationNextStep),
		refused("50055", "the user's password has expired", "set a new password and update AZURE_PASSWORD"),
		refused("50057", "the user's account is disabled", "enable the account, or "+useApplicationNextStep),
		refused("50126", "the username or the password is wrong", "correct AZURE_USERNAME and AZURE_PASSWORD{blank}"),
		refused("50056", "the user has no password in this directory", useApplicationNextStep),
		refused("50072", "the user must set up a second factor, which a program cannot do", useApplicationNextStep),
		refused("50074", "the user must sign in with a second factor, which a program cannot do",
			useApplicationNextStep),
		refused("50076", "the user must sign in with a second factor, which a program cannot do",
			useApplicationNextStep),
		refused("50079", "the user must set up a second factor, which a program cannot do", useApplicationNextStep),
		refused("50144", "the user's password in Active Directory has expired",
			"set a new password and update AZURE_PASSWORD"),
		refused("50158", "the user must pass a check outside Entra ID, which a program cannot do",
			useApplicationNextStep),
		refused("53000", "Conditional Access requires a compliant device", useApplicationNextStep),
		refused("53001", "Conditional Access requires a device that is joined to the domain", useApplicationNextStep),
		refused("530003", "Conditional Access requires a managed device", useApplicationNextStep),
		refused("130507", "the access pass of the user was used or has expired", useApplicationNextStep),
		refused("130508", "the access pass of the user has expired or is wrong", useApplicationNextStep),
		refused("50173", "the user's sign-in was revoked",
			"update AZURE_PASSWORD after the password was changed, or "+useApplicationNextStep),
		refused("700082", "the sign-in expired because it was not used", useApplicationNextStep),
	}
}
