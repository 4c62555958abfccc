// Package servingcert creates and rotates the installation's own certificates: a CA in a Secret that all replicas
// share, a leaf in the memory of each replica, and the CA in the webhook configuration, so that the API server trusts
// the leaf. Each new CA is cross-signed by the CA before it, so that pods with the old CA trust the new one. No library
// does that, and cert-manager is an option of the chart, not a requirement.
//
// Floor 3. Serving with the certificates belongs in webhook and broker.
package servingcert
