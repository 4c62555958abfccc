// Package controller keeps the outputs of AzureKeyVaultSecrets in sync with the vault: resolve → fetch → decode → write
// → report, one file a verb, told by Reconcile.
//
// Floor 4. What a resource means belongs in recipe, what an output looks like in controller/output, how a vault is read
// in keyvault/reader.
package controller
