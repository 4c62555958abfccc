// Package keystore writes a certificate with its private key as PFX (PKCS #12) or as a Java keystore (JKS), protected
// by a password.
//
// Floor 2, pure. It links the libraries of both formats, which the injector that runs in every pod has no room for, so
// the auth service writes these files, or the injector that reads vaults itself. Files are read by package certificate.
package keystore
