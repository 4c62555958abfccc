// Package controller keeps the outputs of AzureKeyVaultSecrets in sync with the vault. Reconcile runs the steps resolve
// → fetch → decode → write → report.
//
// Floor 4. The meaning of a resource belongs in recipe, the form of an output in controller/output, reading a vault in
// keyvault/vaultclient.
package controller
