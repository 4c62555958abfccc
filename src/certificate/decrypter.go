package certificate

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/x509/pkix"
	"encoding/asn1"
	"hash"
	"math/big"
	"unicode/utf16"

	"golang.org/x/crypto/scrypt"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Object identifiers of password-based encryption (RFC 7292, RFC 8018, RFC 7914).
const (
	oidSHA1And3DES   = "1.2.840.113549.1.12.1.3"
	oidSHA1And2DES   = "1.2.840.113549.1.12.1.4"
	oidSHA1AndRC2128 = "1.2.840.113549.1.12.1.5"
	oidSHA1AndRC240  = "1.2.840.113549.1.12.1.6"
	oidPBES2         = "1.2.840.113549.1.5.13"
	oidPBMAC1        = "1.2.840.113549.1.5.14"
	oidPBKDF2        = "1.2.840.113549.1.5.12"
	oidScrypt        = "1.3.6.1.4.1.11591.4.11"
	oidAES128        = "2.16.840.1.101.3.4.1.2"
	oidAES192        = "2.16.840.1.101.3.4.1.22"
	oidAES256        = "2.16.840.1.101.3.4.1.42"
	oid3DES          = "1.2.840.113549.3.7"
)

// Purposes of a key that PKCS #12 derives (RFC 7292, appendix B.3).
const (
	purposeKey byte = 1
	purposeIV  byte = 2
	purposeMAC byte = 3
)

// decrypter decrypts with a password. All key derivations of a file share one limit of rounds, and all files
// of a Parser another.
type decrypter struct {
	// password is UTF-8, as PBES2 requires.
	password string
	// bmpPasswords are the possible UTF-16 forms of the password for PKCS #12. Depending on the program that wrote the
	// file, an empty password is two zero bytes or no bytes.
	bmpPasswords [][]byte
	// passwordVerified is true once a MAC has confirmed the password.
	passwordVerified bool
	// roundsLeft are the rounds left for this file; the parser has those of all its files.
	roundsLeft int
	parser     *Parser
}

func (p *Parser) newDecrypter(password string) decrypter {
	o := decrypter{password: password, roundsLeft: limits.KeyDerivationRounds, parser: p}
	var bmp []byte
	for _, unit := range append(utf16.Encode([]rune(password)), 0) {
		bmp = append(bmp, byte(unit>>8), byte(unit))
	}
	o.bmpPasswords = [][]byte{bmp}
	if password == "" {
		o.bmpPasswords = append(o.bmpPasswords, nil)
	}
	return o
}

// chargeRounds subtracts the rounds of a key derivation from both limits, before the derivation runs. A nil count means
// 1.
func (o *decrypter) chargeRounds(count *big.Int) (int, error) {
	if count == nil {
		count = big.NewInt(1)
	}
	if count.Sign() <= 0 {
		return 0, ErrMalformed
	}
	if !count.IsInt64() || count.Int64() > int64(o.roundsLeft) {
		return 0, ErrTooManyRounds
	}
	rounds := int(count.Int64())
	if rounds > o.parser.roundsLeft {
		return 0, ErrTooManyRoundsOfAll
	}
	o.roundsLeft -= rounds
	o.parser.roundsLeft -= rounds
	return rounds, nil
}

// decryptionError returns the error for content that can't be decrypted.
func (o *decrypter) decryptionError() error {
	if o.passwordVerified {
		return ErrMalformed
	}
	return ErrWrongPassword
}

// decryptKey decrypts an EncryptedPrivateKeyInfo.
func (o *decrypter) decryptKey(content []byte) ([]byte, error) {
	var sealed encryptedKey
	if err := unmarshalBER(content, &sealed); err != nil {
		return nil, err
	}
	return o.decryptContent(sealed.Algorithm, sealed.Data)
}

// decryptContent decrypts content with the algorithm.
func (o *decrypter) decryptContent(algorithm pkix.AlgorithmIdentifier, sealed []byte) ([]byte, error) {
	name := algorithm.Algorithm.String()
	switch name {
	case oidSHA1And3DES, oidSHA1And2DES, oidSHA1AndRC2128, oidSHA1AndRC240:
		return o.decryptPKCS12(name, algorithm.Parameters.FullBytes, sealed)
	case oidPBES2:
		return o.decryptPBES2(algorithm.Parameters.FullBytes, sealed)
	}
	return nil, unsupportedAlgorithmError(name)
}

// decryptPKCS12 tries each form of the password and keeps the one that works.
func (o *decrypter) decryptPKCS12(algorithm string, parameters, sealed []byte) ([]byte, error) {
	var p struct {
		Salt       []byte
		Iterations *big.Int
	}
	if err := unmarshalBER(parameters, &p); err != nil {
		return nil, err
	}
	for i, password := range o.bmpPasswords {
		rounds, err := o.chargeRounds(p.Iterations)
		if err != nil {
			return nil, err
		}
		derived := pkcs12KDF{sha1.New, password, p.Salt, rounds}
		block, err := pkcs12Cipher(algorithm, derived)
		if err != nil {
			return nil, err
		}
		if plain, ok := decryptCBC(block, derived.deriveKey(purposeIV, block.BlockSize()), sealed); ok {
			o.bmpPasswords = o.bmpPasswords[i : i+1]
			return plain, nil
		}
	}
	return nil, o.decryptionError()
}

func pkcs12Cipher(algorithm string, d pkcs12KDF) (cipher.Block, error) {
	switch algorithm {
	case oidSHA1And3DES:
		return des.NewTripleDESCipher(d.deriveKey(purposeKey, 24))
	case oidSHA1And2DES:
		key := d.deriveKey(purposeKey, 16)
		return des.NewTripleDESCipher(append(key, key[:8]...))
	case oidSHA1AndRC2128:
		return newRC2(d.deriveKey(purposeKey, 16)), nil
	default:
		return newRC2(d.deriveKey(purposeKey, 5)), nil
	}
}

func (o *decrypter) decryptPBES2(parameters, sealed []byte) ([]byte, error) {
	var p struct{ Derivation, Encryption pkix.AlgorithmIdentifier }
	if err := unmarshalBER(parameters, &p); err != nil {
		return nil, err
	}
	name := p.Encryption.Algorithm.String()
	size, ok := map[string]int{oidAES128: 16, oidAES192: 24, oidAES256: 32, oid3DES: 24}[name]
	if !ok {
		return nil, unsupportedAlgorithmError(name)
	}
	var iv []byte
	if err := unmarshalBER(p.Encryption.Parameters.FullBytes, &iv); err != nil {
		return nil, err
	}
	key, err := o.deriveKey(p.Derivation, size)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if name == oid3DES {
		block, err = des.NewTripleDESCipher(key)
	}
	if err != nil || len(iv) != block.BlockSize() {
		return nil, ErrMalformed
	}
	if plain, ok := decryptCBC(block, iv, sealed); ok {
		return plain, nil
	}
	return nil, o.decryptionError()
}

// deriveKey derives a key of size bytes by PBKDF2 or scrypt.
func (o *decrypter) deriveKey(algorithm pkix.AlgorithmIdentifier, size int) ([]byte, error) {
	switch name := algorithm.Algorithm.String(); name {
	case oidPBKDF2:
		return o.derivePBKDF2(algorithm.Parameters.FullBytes, size)
	case oidScrypt:
		return o.deriveScrypt(algorithm.Parameters.FullBytes, size)
	default:
		return nil, unsupportedAlgorithmError(name)
	}
}

func (o *decrypter) derivePBKDF2(parameters []byte, size int) ([]byte, error) {
	var p struct {
		Salt       asn1.RawValue
		Iterations *big.Int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	if err := unmarshalBER(parameters, &p); err != nil {
		return nil, err
	}
	if p.Salt.Tag != asn1.TagOctetString || p.KeyLength != 0 && p.KeyLength != size {
		return nil, ErrMalformed
	}
	prf := sha1.New
	if len(p.PRF.Algorithm) > 0 {
		var err error
		if prf, err = hmacHashByOID(p.PRF.Algorithm.String()); err != nil {
			return nil, err
		}
	}
	rounds, err := o.chargeRounds(p.Iterations)
	if err != nil {
		return nil, err
	}
	key, err := pbkdf2.Key(prf, o.password, p.Salt.Bytes, rounds, size)
	if err != nil {
		return nil, ErrMalformed
	}
	return key, nil
}

// scryptOperationsPerRound is the number of scrypt block operations that cost as much as one round of PBKDF2.
const scryptOperationsPerRound = 4

// checkScrypt rejects parameters with which scrypt would need more than limits.ScryptBytes of memory.
func checkScrypt(n, r, p int) error {
	const most = limits.ScryptBytes / 128
	switch {
	case n <= 1 || r <= 0 || p <= 0:
		return ErrMalformed
	case n > most || r > most || p > most || n*r > most:
		return ErrTooManyRounds
	}
	return nil
}

func (o *decrypter) deriveScrypt(parameters []byte, size int) ([]byte, error) {
	var p struct {
		Salt      []byte
		N, R, P   int
		KeyLength int `asn1:"optional"`
	}
	if err := unmarshalBER(parameters, &p); err != nil {
		return nil, err
	}
	if p.KeyLength != 0 && p.KeyLength != size {
		return nil, ErrMalformed
	}
	if err := checkScrypt(p.N, p.R, p.P); err != nil {
		return nil, err
	}
	operations := new(big.Int).Mul(big.NewInt(int64(p.N*p.R)), big.NewInt(int64(p.P)))
	if _, err := o.chargeRounds(operations.Add(operations.Div(operations, big.NewInt(scryptOperationsPerRound)),
		big.NewInt(1))); err != nil {
		return nil, err
	}
	key, err := scrypt.Key([]byte(o.password), p.Salt, p.N, p.R, p.P, size)
	if err != nil {
		return nil, ErrMalformed
	}
	return key, nil
}

// verifyMAC verifies the MAC of a PFX.
func (o *decrypter) verifyMAC(mac macData, content []byte) error {
	name := mac.Mac.Algorithm.Algorithm.String()
	if name == oidPBMAC1 {
		return o.verifyPBMAC1(mac, content)
	}
	newHash, err := digestByOID(name)
	if err != nil {
		return err
	}
	for i, password := range o.bmpPasswords {
		rounds, err := o.chargeRounds(mac.Iterations)
		if err != nil {
			return err
		}
		key := pkcs12KDF{newHash, password, mac.Salt, rounds}.deriveKey(purposeMAC, newHash().Size())
		if isValidHMAC(newHash, key, content, mac.Mac.Digest) {
			o.bmpPasswords, o.passwordVerified = o.bmpPasswords[i:i+1], true
			return nil
		}
	}
	return ErrWrongPassword
}

// verifyPBMAC1 verifies a MAC of RFC 9579. It rejects short keys, because a MAC with a short key can be guessed.
func (o *decrypter) verifyPBMAC1(mac macData, content []byte) error {
	var p struct{ Derivation, MAC pkix.AlgorithmIdentifier }
	var kdf struct {
		Salt       asn1.RawValue
		Iterations *big.Int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	if err := unmarshalBER(mac.Mac.Algorithm.Parameters.FullBytes, &p); err != nil {
		return err
	}
	if p.Derivation.Algorithm.String() != oidPBKDF2 {
		return unsupportedAlgorithmError(p.Derivation.Algorithm.String())
	}
	if err := unmarshalBER(p.Derivation.Parameters.FullBytes, &kdf); err != nil {
		return err
	}
	const shortest, longest = 20, 64
	if kdf.KeyLength < shortest || kdf.KeyLength > longest {
		return ErrMalformed
	}
	newHash, err := hmacHashByOID(p.MAC.Algorithm.String())
	if err != nil {
		return err
	}
	key, err := o.derivePBKDF2(p.Derivation.Parameters.FullBytes, kdf.KeyLength)
	if err != nil {
		return err
	}
	if !isValidHMAC(newHash, key, content, mac.Mac.Digest) {
		return ErrWrongPassword
	}
	o.passwordVerified = true
	return nil
}

// isValidHMAC reports whether want is the HMAC of content.
func isValidHMAC(newHash func() hash.Hash, key, content, want []byte) bool {
	mac := hmac.New(newHash, key)
	mac.Write(content)
	return hmac.Equal(mac.Sum(nil), want)
}

// decryptCBC decrypts and removes the padding. It returns false if length or padding are invalid.
func decryptCBC(block cipher.Block, iv, sealed []byte) ([]byte, bool) {
	size := block.BlockSize()
	if len(sealed) == 0 || len(sealed)%size != 0 {
		return nil, false
	}
	plain := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, sealed)
	padding := int(plain[len(plain)-1])
	if padding == 0 || padding > size {
		return nil, false
	}
	text := plain[:len(plain)-padding]
	return text, bytes.Equal(plain[len(text):], bytes.Repeat([]byte{byte(padding)}, padding))
}
