// Package fromapi parses and validates the JSON of an AzureKeyVaultSecret and returns it as a Recipe. Only this package
// knows the fields of the resource: the controller and the broker marshal their typed object, and the injector passes
// the API server's response.
//
// Floor 3, pure. The package repeats the checks of the CRD's schema, because a resource can be older
// than the schema. Decoding vault objects belongs in recipe/decode.
package fromapi
