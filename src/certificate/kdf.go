package certificate

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/binary"
	"hash"
	"math/bits"
)

// digestByOID returns the hash function with the object identifier.
func digestByOID(oid string) (func() hash.Hash, error) {
	return hashByName(oid, map[string]string{
		"1.3.14.3.2.26": "SHA-1", "2.16.840.1.101.3.4.2.4": "SHA-224", "2.16.840.1.101.3.4.2.1": "SHA-256",
		"2.16.840.1.101.3.4.2.2": "SHA-384",
		"2.16.840.1.101.3.4.2.3": "SHA-512", "2.16.840.1.101.3.4.2.5": "SHA-512/224",
		"2.16.840.1.101.3.4.2.6": "SHA-512/256",
		"2.16.840.1.101.3.4.2.7": "SHA3-224", "2.16.840.1.101.3.4.2.8": "SHA3-256",
		"2.16.840.1.101.3.4.2.9": "SHA3-384", "2.16.840.1.101.3.4.2.10": "SHA3-512",
	})
}

// hmacHashByOID returns the hash function of the HMAC with the object identifier.
func hmacHashByOID(oid string) (func() hash.Hash, error) {
	return hashByName(oid, map[string]string{
		"1.2.840.113549.2.7": "SHA-1", "1.2.840.113549.2.8": "SHA-224", "1.2.840.113549.2.9": "SHA-256",
		"1.2.840.113549.2.10": "SHA-384",
		"1.2.840.113549.2.11": "SHA-512", "1.2.840.113549.2.12": "SHA-512/224", "1.2.840.113549.2.13": "SHA-512/256",
		"2.16.840.1.101.3.4.2.13": "SHA3-224", "2.16.840.1.101.3.4.2.14": "SHA3-256",
		"2.16.840.1.101.3.4.2.15": "SHA3-384", "2.16.840.1.101.3.4.2.16": "SHA3-512",
	})
}

func hashByName(oid string, names map[string]string) (func() hash.Hash, error) {
	known := map[string]func() hash.Hash{
		"SHA-1": sha1.New, "SHA-224": sha256.New224, "SHA-256": sha256.New, "SHA-384": sha512.New384,
		"SHA-512":     sha512.New,
		"SHA-512/224": sha512.New512_224, "SHA-512/256": sha512.New512_256,
		"SHA3-224": func() hash.Hash { return sha3.New224() }, "SHA3-256": func() hash.Hash { return sha3.New256() },
		"SHA3-384": func() hash.Hash { return sha3.New384() }, "SHA3-512": func() hash.Hash { return sha3.New512() },
	}
	if found, ok := known[names[oid]]; ok {
		return found, nil
	}
	return nil, unsupportedAlgorithmError(oid)
}

// pkcs12KDF holds the parameters of the PKCS #12 key derivation (RFC 7292, appendix B).
type pkcs12KDF struct {
	hash           func() hash.Hash
	password, salt []byte
	rounds         int
}

// deriveKey derives size bytes for a purpose, as in RFC 7292, appendix B.2.
func (d pkcs12KDF) deriveKey(purpose byte, size int) []byte {
	h := d.hash()
	width := h.BlockSize()
	diversifier := make([]byte, width)
	for i := range diversifier {
		diversifier[i] = purpose
	}
	input := append(repeatToBlocks(d.salt, width), repeatToBlocks(d.password, width)...)
	var out []byte
	for {
		h.Reset()
		h.Write(diversifier)
		h.Write(input)
		digest := h.Sum(nil)
		for range d.rounds - 1 {
			h.Reset()
			h.Write(digest)
			digest = h.Sum(digest[:0])
		}
		if out = append(out, digest...); len(out) >= size {
			return out[:size]
		}
		increment := repeatToBlocks(digest, width)[:width]
		for block := input; len(block) > 0; block = block[width:] {
			addIncrement(block[:width], increment)
		}
	}
}

// repeatToBlocks repeats the text until it fills whole blocks of width bytes. An empty text stays empty.
func repeatToBlocks(text []byte, width int) []byte {
	size := (len(text) + width - 1) / width * width
	out := make([]byte, 0, size+len(text))
	for len(out) < size {
		out = append(out, text...)
	}
	return out[:size]
}

// addIncrement adds number + 1 to the block. Both are big-endian; overflow is dropped.
func addIncrement(block, number []byte) {
	carry := uint(1)
	for i := len(block) - 1; i >= 0; i-- {
		total := uint(block[i]) + uint(number[i]) + carry
		block[i], carry = byte(total), total>>8
	}
}

// rc2 decrypts RC2 (RFC 2268). Old versions of Windows and OpenSSL encrypt certificates with it, and no maintained Go
// library implements it.
type rc2 [64]uint16

// newRC2 expands a key. The effective key length equals the length of the key.
func newRC2(key []byte) *rc2 {
	var l [128]byte
	const table = rc2Table
	n := copy(l[:], key)
	for i := n; i < len(l); i++ {
		l[i] = table[l[i-1]+l[i-n]]
	}
	l[len(l)-n] = table[l[len(l)-n]]
	for i := len(l) - n - 1; i >= 0; i-- {
		l[i] = table[l[i+1]^l[i+n]]
	}
	var k rc2
	for i := range k {
		k[i] = binary.LittleEndian.Uint16(l[2*i:])
	}
	return &k
}

// BlockSize implements cipher.Block.
func (*rc2) BlockSize() int { return 8 }

// Encrypt implements cipher.Block. It panics, because this package only decrypts.
func (*rc2) Encrypt([]byte, []byte) { panic("certificate: RC2 only decrypts") }

// Decrypt implements cipher.Block: the rounds of RFC 2268, section 4, from the last to the first.
func (k *rc2) Decrypt(dst, src []byte) {
	var r [4]uint16
	for i := range r {
		r[i] = binary.LittleEndian.Uint16(src[2*i:])
	}
	next := len(k)
	mix := func(times int) {
		for range times {
			for i := 3; i >= 0; i-- {
				next--
				r[i] = bits.RotateLeft16(r[i], -[]int{1, 2, 3, 5}[i])
				r[i] -= k[next] + r[(i+3)%4]&r[(i+2)%4] + ^r[(i+3)%4]&r[(i+1)%4]
			}
		}
	}
	mash := func() {
		for i := 3; i >= 0; i-- {
			r[i] -= k[r[(i+3)%4]&63]
		}
	}
	mix(5)
	mash()
	mix(6)
	mash()
	mix(5)
	for i := range r {
		binary.LittleEndian.PutUint16(dst[2*i:], r[i])
	}
}

// rc2Table is the permutation PITABLE of RFC 2268, section 2.
const rc2Table = "" +
	"\xd9\x78\xf9\xc4\x19\xdd\xb5\xed\x28\xe9\xfd\x79\x4a\xa0\xd8\x9d\xc6\x7e\x37\x83\x2b\x76\x53\x8e\x62\x4c\x64\x88\x44\x8b\xfb\xa2" +
	"\x17\x9a\x59\xf5\x87\xb3\x4f\x13\x61\x45\x6d\x8d\x09\x81\x7d\x32\xbd\x8f\x40\xeb\x86\xb7\x7b\x0b\xf0\x95\x21\x22\x5c\x6b\x4e\x82" +
	"\x54\xd6\x65\x93\xce\x60\xb2\x1c\x73\x56\xc0\x14\xa7\x8c\xf1\xdc\x12\x75\xca\x1f\x3b\xbe\xe4\xd1\x42\x3d\xd4\x30\xa3\x3c\xb6\x26" +
	"\x6f\xbf\x0e\xda\x46\x69\x07\x57\x27\xf2\x1d\x9b\xbc\x94\x43\x03\xf8\x11\xc7\xf6\x90\xef\x3e\xe7\x06\xc3\xd5\x2f\xc8\x66\x1e\xd7" +
	"\x08\xe8\xea\xde\x80\x52\xee\xf7\x84\xaa\x72\xac\x35\x4d\x6a\x2a\x96\x1a\xd2\x71\x5a\x15\x49\x74\x4b\x9f\xd0\x5e\x04\x18\xa4\xec" +
	"\xc2\xe0\x41\x6e\x0f\x51\xcb\xcc\x24\x91\xaf\x50\xa1\xf4\x70\x39\x99\x7c\x3a\x85\x23\xb8\xb4\x7a\xfc\x02\x36\x5b\x25\x55\x97\x31" +
	"\x2d\x5d\xfa\x98\xe3\x8a\x92\xae\x05\xdf\x29\x10\x67\x6c\xba\xc9\xd3\x00\xe6\xcf\xe1\x9e\xa8\x2c\x63\x16\x01\x3f\x58\xe2\x89\xa9" +
	"\x0d\x38\x34\x1b\xab\x33\xff\xb0\xbb\x48\x0c\x5f\xb9\xb1\xcd\x2e\xc5\xf3\xdb\x47\xe5\xa5\x9c\x77\x0a\xa6\x20\x68\xfe\x7f\xc1\xad"
