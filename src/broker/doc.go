// Package broker implements the auth service. It authenticates the pod that sends a request, allows the references that
// the pod's own spec holds, and returns their values. It never returns an Azure token, and it writes nothing to the
// cluster except events.
//
// Floor 4. Reading a vault belongs in keyvault/vaultclient, decoding a value in recipe/decode.
package broker
