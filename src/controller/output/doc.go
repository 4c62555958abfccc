// Package output builds the Secret or ConfigMap for an AzureKeyVaultSecret, compares it with the live object, and
// decides whether the live object can be written.
//
// Floor 2, pure. Reading and writing objects belong in controller/store.
package output
