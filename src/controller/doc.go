// Package controller keeps the outputs of AzureKeyVaultSecrets in sync with the vault. Reconcile is the list of steps:
// resolve → fetch → render → write, then report and schedule; each is in the file of its name. What they find is in a
// resourceSync; what is remembered until the next reconcile is in package state.
//
// Floor 4. The meaning of a resource belongs in recipe, the form of an output in controller/output, reading a vault in
// keyvault/vaultclient.
package controller
