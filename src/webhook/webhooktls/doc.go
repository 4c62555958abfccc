// Package webhooktls configures TLS for the port of the webhook: a certificate of the user's own, which is loaded again
// when it changes, and the check of client certificates.
//
// Floor 4. Certificates that the program issues itself belong in servingcert.
package webhooktls
