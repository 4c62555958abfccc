// Package certificate parses certificates and private keys from PFX (PKCS #12) and PEM files, orders certificate
// chains, and encodes both as PEM. It reads files that OpenSSL, Windows, Java and Key Vault write.
//
// Floor 1. The data of a Secret belongs in recipe/decode, the content of a credential in keyvault/credential.
package certificate
