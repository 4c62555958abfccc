package certificate

// unsupportedError names an element that this package does not support.
type unsupportedError string

func newUnsupportedError(what string) error { return unsupportedError(what) }

// Error implements error.
func (e unsupportedError) Error() string {
	return "it contains " + string(e) + ", which is not supported"
}

// Is makes an unsupportedError match ErrUnsupported.
func (unsupportedError) Is(target error) bool { return target == ErrUnsupported }

// unsupportedAlgorithmError names an algorithm by its object identifier. It quotes an unknown identifier, which is not
// secret and can be looked up.
func unsupportedAlgorithmError(oid string) error {
	names := map[string]string{
		"1.2.392.200011.61.1.1.1.2": "Camellia-128", "1.2.392.200011.61.1.1.1.3": "Camellia-192",
		"1.2.392.200011.61.1.1.1.4": "Camellia-256",
		"1.2.410.200046.1.1.2":      "ARIA-128", "1.2.410.200046.1.1.7": "ARIA-192",
		"1.2.410.200046.1.1.12": "ARIA-256", "1.2.410.200004.1.4": "SEED",
		"1.2.840.113549.1.12.1.1": "RC4-128", "1.2.840.113549.1.12.1.2": "RC4-40", "1.2.840.113549.3.2": "RC2",
		"1.3.14.3.2.7":         "DES",
		"1.2.840.113549.1.5.1": "MD2 with DES", "1.2.840.113549.1.5.3": "MD5 with DES",
		"1.2.840.113549.1.5.6":  "MD5 with RC2",
		"1.2.840.113549.1.5.10": "SHA-1 with DES", "1.2.840.113549.1.5.11": "SHA-1 with RC2",
		"1.2.840.113549.2.5": "MD5", "1.3.36.3.2.1": "RIPEMD-160",
		"1.2.643.2.2.21": "GOST 28147-89", "1.2.643.7.1.1.2.2": "Streebog-256", "1.2.643.7.1.1.2.3": "Streebog-512",
		"1.2.156.10197.1.401":   "SM3",
		"1.2.156.10197.1.104.2": "SM4", "2.16.840.1.101.3.4.1.6": "AES-128-GCM",
		"2.16.840.1.101.3.4.1.26": "AES-192-GCM", "2.16.840.1.101.3.4.1.46": "AES-256-GCM",
	}
	if name, ok := names[oid]; ok {
		return newUnsupportedError("the algorithm " + name)
	}
	return newUnsupportedError("the algorithm with the object identifier " + oid)
}

// unsupportedKeyError names a key algorithm or a curve by its object identifier.
func unsupportedKeyError(oid string) error {
	names := map[string]string{
		"1.2.840.113549.1.1.10": "RSASSA-PSS", "1.2.840.10040.4.1": "DSA", "1.3.101.113": "Ed448",
		"1.3.101.110": "X25519", "1.3.101.111": "X448",
		"1.2.840.10045.3.1.1": "the curve P-192", "1.3.132.0.33": "the curve P-224",
		"1.3.36.3.3.2.8.1.1.7":  "the curve brainpoolP256r1",
		"1.3.36.3.3.2.8.1.1.11": "the curve brainpoolP384r1", "1.3.36.3.3.2.8.1.1.13": "the curve brainpoolP512r1",
		"1.2.156.10197.1.301": "the curve SM2",
		"1.2.643.7.1.1.1.1":   "GOST R 34.10-2012", "2.16.840.1.101.3.4.3.17": "ML-DSA-44",
		"2.16.840.1.101.3.4.3.18": "ML-DSA-65", "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
	}
	if name, ok := names[oid]; ok {
		return newUnsupportedError("a private key of " + name)
	}
	return newUnsupportedError("a private key with the object identifier " + oid)
}

// isPasswordEncryption reports whether an object identifier is one of password-based encryption (PKCS #5 or PKCS #12).
func isPasswordEncryption(oid string) bool {
	for _, prefix := range []string{"1.2.840.113549.1.5.", "1.2.840.113549.1.12.1."} {
		if len(oid) > len(prefix) && oid[:len(prefix)] == prefix {
			return true
		}
	}
	return false
}
