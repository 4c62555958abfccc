// Package eso converts the kinds of External Secrets Operator: stores of the provider azurekv become values of the
// chart, and ExternalSecrets become AzureKeyVaultSecrets.
//
// Floor 4: it calls no cluster and reads no files.
package eso
