// Package credential makes the token credential that the product uses towards Azure, from configuration. One function
// serves every component.
//
// Floor 3. Reading azure.json and the environment belongs in cmd; what a cloud's endpoints are, in keyvault/cloud.
package credential
