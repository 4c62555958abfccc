// Package serviceaccount reads the application ids that a ServiceAccount is annotated with, and requests tokens of the
// ServiceAccount, which Microsoft Entra ID exchanges for tokens of the application.
//
// Floor 3. The caller selects the ServiceAccount; it is always one of the resource's own namespace. The token exchange
// belongs in keyvault/credential.
package serviceaccount
