// Package schema checks AzureKeyVaultSecrets as the API server does when they are written: with the structural schema
// and the CEL rules of the CustomResourceDefinition. It also tells which fields a resource can have.
//
// Floor 1: it calls no cluster.
package schema
