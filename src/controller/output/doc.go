// Package output builds the Secret or ConfigMap for an AzureKeyVaultSecret, compares it with the live object, and
// decides whether the live object can be written. Kinds is the registry of the kinds of output; each has a file. See
// docs/contributing/recipes.md.
//
// Floor 2, pure. Reading and writing objects belong in controller/store.
package output
