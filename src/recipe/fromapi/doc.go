// Package fromapi turns the JSON of an AzureKeyVaultSecret into a Recipe. It is the only place that knows the shape of
// the resource: the controller and the broker marshal their typed object, the injector hands over the server's bytes.
//
// Floor 2, standard library only. It checks again what the CRD's schema checks, because a resource may be older than
// the schema.
package fromapi
