// Package servingcert makes and keeps the installation's own certificates: a CA in a Secret that all replicas share, a
// leaf of it in the memory of each, and the CA in the webhook configuration, so that the API server believes the leaf.
//
// Floor 3. Who serves with it belongs in webhook and broker. A CA is followed by one that it has cross-signed.
package servingcert
