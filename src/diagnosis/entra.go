package diagnosis

import "github.com/akv2k8s/akv2k8s/src/fault"

// federated is what a federated credential has to say.
const federated = "set the federated credential of the application to issuer, subject " +
	"(system:serviceaccount:NAMESPACE:NAME, in the same letter case) and audience (api://AzureADTokenExchange) of " +
	"the pod's token"

const program = "use a client secret, a certificate or a workload identity instead of a user"

func entraAnswers() []Answer {
	refused := func(code, cause, next string) Answer {
		return Answer{Entra, "", "AADSTS" + code, fault.Unauthenticated, cause, next}
	}
	return append(entraUsers(refused), []Answer{
		refused("7000215", "the client secret is wrong",
			"use the secret's value, not its id, of this very application{blank}"),
		refused("7000222", "the client secret has expired", "make a new one and update the credential"),
		refused("7000218", "the request has neither a client secret nor an assertion",
			"give AZURE_CLIENT_SECRET, a certificate or a federated token; for a user, allow public client flows in "+
				"the application"),
		refused("7000112", "the application is disabled",
			"enable the application (service principal) in the tenant, or use another one"),
		refused("7000229", "the application has no service principal in the tenant",
			"create it: az ad sp create --id CLIENT-ID; and check the tenant id"),
		refused("700016", "the application is not known in the tenant", "check client id and tenant id"),
		refused("700027", "the certificate is not registered with the application, or has expired",
			"upload the certificate to the application, or renew it"),
		refused("700030",
			"the certificate is not valid for the application: subject name or issuer are not the trusted ones",
			"upload the certificate itself to the application, or correct the subject name and issuer that it trusts"),
		refused("700023", "the assertion is for another audience",
			"check the tenant id, and that the token is for api://AzureADTokenExchange"),
		refused("700024", "the assertion is not valid at this time", "check the clock of the node"),
		refused("70021", "no federated credential of the application matches the pod's token",
			federated+"; a new one takes some minutes"),
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
			"a federated credential of the application matches the pod's token but for upper and lower case",
			federated),
		refused("700222", "tokens of Entra ID itself can't be exchanged this way",
			"let the cluster's own issuer be the one of the federated credential"),
		refused("90002", "the tenant is not known", "check the tenant id and the cloud"),
		refused("900023", "the tenant id is neither an id nor a domain", "correct the tenant id"),
		refused("500011", "the tenant does not know Key Vault as a resource",
			"check the tenant id and the cloud; in a new tenant, register the resource provider Microsoft.KeyVault"),
		refused("500014", "Key Vault is disabled as a resource in the tenant",
			"check that the tenant has an active subscription, and enable the service principal of Azure Key Vault"),
		refused("65001", "nobody consented to the application", "let an administrator consent"),
		refused("70011", "the scope is not valid",
			"check the cloud, and resourceIdentifiers.keyVault of a private one"),
		refused("53003", "a Conditional Access policy blocks the sign-in",
			"exclude the identity from the policy, or let the cluster's address be a trusted location"),
		{Entra, "", "AADSTS50196", fault.Throttled, "Entra ID sees too many equal requests",
			"it is tried again more slowly; look for what else signs in with this client id"},
		{Entra, "", "AADSTS90033", fault.Unavailable, "Entra ID is not available for a moment", "it is tried again"},
		{Entra, "429", "", fault.Throttled, "Entra ID answers that there are too many requests",
			"it is tried again more slowly; look for what else signs in with this client id"},
		{Entra, "5xx", "", fault.Unavailable, "Entra ID returned a server error",
			"it is tried again; if it goes on, look at Azure's status page"},
		{Entra, "200", "", fault.Unavailable, "Entra ID answers without a token",
			"check what answers at {host}; it is tried again"},
		{Entra, "", "", fault.Unauthenticated, "Entra ID refuses",
			"look the code up at https://login.microsoftonline.com/error"},
	}...)
}

// entraUsers are about signing in as a user.
func entraUsers(refused func(code, cause, next string) Answer) []Answer {
	return []Answer{
		refused("50020", "the user is of another tenant", "use an account of the tenant {tenant}, or "+program),
		refused("50034", "the user is not known in the tenant", "correct AZURE_USERNAME and AZURE_TENANT_ID"),
		refused("50053", "the account is locked after too many wrong passwords, or the address is blocked",
			"unlock the account, then correct AZURE_PASSWORD; or "+program),
		refused("50055", "the user's password has expired", "set a new password and update AZURE_PASSWORD"),
		refused("50057", "the user's account is disabled", "enable the account, or "+program),
		refused("50126", "the username or the password is wrong", "correct AZURE_USERNAME and AZURE_PASSWORD{blank}"),
		refused("50056", "the user has no password in this directory", program),
		refused("50072", "the user has to set up a second factor, which a program can't", program),
		refused("50074", "the user has to sign in with a second factor, which a program can't", program),
		refused("50076", "the user has to sign in with a second factor, which a program can't", program),
		refused("50079", "the user has to set up a second factor, which a program can't", program),
		refused("50144", "the user's password in Active Directory has expired",
			"set a new password and update AZURE_PASSWORD"),
		refused("50158", "the user has to pass a check outside Entra ID, which a program can't", program),
		refused("53000", "Conditional Access wants a device that is compliant", program),
		refused("53001", "Conditional Access wants a device that is joined to the domain", program),
		refused("530003", "Conditional Access wants a device that is managed", program),
		refused("130507", "the access pass of the user has been used or has expired", program),
		refused("130508", "the access pass of the user has expired or is wrong", program),
		refused("50173", "the user's sign-in was revoked",
			"update AZURE_PASSWORD after the password was changed, or "+program),
		refused("700082", "the sign-in expired because it was not used", program),
	}
}
