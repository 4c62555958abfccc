// Package serviceaccount lets a tenant's own ServiceAccount read vaults: it finds the application that the account is
// annotated with, and asks the API server for the account's token, which Azure exchanges.
//
// Floor 3. Whose account it is, the caller decides: always one of the namespace that the resource is in.
package serviceaccount
