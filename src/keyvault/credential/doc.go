// Package credential creates the Azure token credential from the configuration. All components use the same function.
//
// Floor 3. Reading flags and environment belongs in cmd, the endpoints of a cloud in keyvault/cloud.
package credential
