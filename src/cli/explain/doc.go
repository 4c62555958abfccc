// Package explain says what a pod or an AzureKeyVaultSecret depends on, what will happen to it, and what is wrong. It
// reads the API server with the rights of the user, and asks no vault. It never keeps or returns a secret value: of
// ConfigMaps, Secrets and environments it keeps names and references alone.
//
// Floor 5. Flags and streams belong in cli/command/explain.
package explain
