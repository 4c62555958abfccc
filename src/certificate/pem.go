package certificate

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// blockError names the block of a PEM file that can't be read, counted from 1, and the reason.
type blockError struct {
	number int
	reason string
}

// Error implements error.
func (e blockError) Error() string { return fmt.Sprintf("block %d of the PEM %s", e.number, e.reason) }

// Is makes a blockError match ErrMalformed.
func (blockError) Is(target error) bool { return target == ErrMalformed }

var (
	// damagedBlockPattern matches the rest of a damaged first or last line, or of a block that lacks them.
	damagedBlockPattern = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(BEGIN|END) [A-Z0-9 ]*(CERTIFICATE|KEY)|--(BEGIN|END)|(^|\n)[ \t]*MII[A-Za-z0-9+/=]{40}`)
	})
	labelPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Z0-9][A-Z0-9 .#-]*$`) })
)

const (
	beginMark = "-----BEGIN "
	endMark   = "-----END "
	dashes    = "-----"
)

// DecodePEMBlocks decodes every block of a PEM file, in order. It accepts byte-order marks, any line ends, indentation,
// several blocks on one line and text between blocks. Any other deviation is an error that names the block: it never
// skips a damaged block.
func DecodePEMBlocks(content []byte) ([]*pem.Block, error) {
	if isUTF16(content) {
		return nil, ErrUTF16
	}
	text := strings.ReplaceAll(string(content), "\ufeff", "")
	var blocks []*pem.Block
	for {
		before, rest, found := strings.Cut(text, beginMark)
		number := len(blocks) + 1
		switch {
		case damagedBlockPattern().MatchString(before):
			return nil, blockError{number, "is damaged: its first or last line is missing or misspelt"}
		case !found:
			return blocks, nil
		case number > limits.PEMBlocks:
			return nil, ErrTooManyCertificates
		}
		block, after, reason := parseBlock(rest)
		if reason != "" {
			return nil, blockError{number, reason}
		}
		blocks, text = append(blocks, block), after
	}
}

// isUTF16 detects UTF-16 by its byte-order mark, or by the zero byte that each ASCII character has in UTF-16.
func isUTF16(content []byte) bool {
	return bytes.HasPrefix(content, []byte{0xFE, 0xFF}) || bytes.HasPrefix(content, []byte{0xFF, 0xFE}) ||
		bytes.Contains(content, []byte("\x00-\x00-\x00-"))
}

// parseBlock decodes the block whose text follows beginMark. The reason is empty on success.
func parseBlock(rest string) (block *pem.Block, after, reason string) {
	name, rest, found := strings.Cut(rest, dashes)
	if !found || !labelPattern().MatchString(name) {
		return nil, "", "is damaged: its first line is misspelt"
	}
	body, after, found := strings.Cut(rest, endMark+name+dashes)
	if !found || strings.Contains(body, beginMark) {
		return nil, "", "is damaged: its last line is missing or names another type"
	}
	headers, body := parseHeaders(body)
	compact := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n\v\f\u00a0", r) {
			return -1
		}
		return r
	}, body)
	der, err := base64.StdEncoding.DecodeString(compact)
	switch {
	case err != nil && strings.Contains(body, `\n`):
		return nil, "", `has the two characters \n in place of line ends`
	case err != nil || !utf8.ValidString(body):
		return nil, "", "is damaged: its text is not base64"
	case len(der) == 0:
		return nil, "", "is empty"
	}
	return &pem.Block{Type: name, Headers: headers, Bytes: der}, after, ""
}

// parseHeaders splits the header lines from the body. They have a colon and describe the encryption of a key.
func parseHeaders(body string) (map[string]string, string) {
	headers := map[string]string{}
	lines := strings.Split(strings.ReplaceAll(body, "\r", "\n"), "\n")
	for i, line := range lines {
		key, value, found := strings.Cut(line, ":")
		switch {
		case found:
			headers[strings.TrimSpace(key)] = strings.TrimSpace(value)
		case strings.TrimSpace(line) != "":
			return headers, strings.Join(lines[i:], "\n")
		}
	}
	return headers, ""
}

// parsePEM accepts blocks in any order. It skips a block only if its type is known to hold neither a certificate nor a
// private key.
func (p *Parser) parsePEM(content []byte, password string) (Bundle, error) {
	blocks, err := DecodePEMBlocks(content)
	if err != nil {
		return Bundle{}, err
	}
	if countKeys(blocks) > 1 {
		return Bundle{}, ErrMultipleKeys
	}
	var b Bundle
	for i, block := range blocks {
		err := p.addBlock(&b, block, password)
		if errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooManyRounds) {
			err = blockError{i + 1, "is damaged: it can't be read as " + blockKind(block.Type)}
		}
		if err != nil {
			return Bundle{}, err
		}
	}
	if len(b.Certificates) == 0 {
		return Bundle{}, ErrNoCertificate
	}
	return b, nil
}

// countKeys counts the private keys without parsing them, because decrypting a key is expensive.
func countKeys(blocks []*pem.Block) (keys int) {
	for _, block := range blocks {
		if blockKind(block.Type) == kindKey {
			keys++
		}
	}
	return keys
}

// The kinds of PEM block.
const (
	kindCertificate        = "a certificate"
	kindTrustedCertificate = "an OpenSSL trusted certificate"
	kindKey                = "a private key"
	kindIgnored            = "nothing"
	kindUnknown            = ""
)

func blockKind(name string) string {
	switch name {
	case "CERTIFICATE", "X509 CERTIFICATE":
		return kindCertificate
	case "TRUSTED CERTIFICATE":
		return kindTrustedCertificate
	case "EC PARAMETERS", "DH PARAMETERS", "X9.42 DH PARAMETERS", "DSA PARAMETERS", "PUBLIC KEY", "RSA PUBLIC KEY",
		"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST", "X509 CRL":
		return kindIgnored
	}
	if strings.HasSuffix(name, "PRIVATE KEY") {
		return kindKey
	}
	return kindUnknown
}

func (p *Parser) addBlock(b *Bundle, block *pem.Block, password string) error {
	switch blockKind(block.Type) {
	case kindCertificate:
		return b.addCertificate(block.Bytes)
	case kindTrustedCertificate:
		h, content, ok := readBERHeader(block.Bytes)
		if !ok || h.length < 0 {
			return ErrMalformed
		}
		return b.addCertificate(block.Bytes[:len(block.Bytes)-len(content)+h.length])
	case kindKey:
		var err error
		b.Key, err = p.parseKey(block, password)
		return err
	case kindIgnored:
		return nil
	}
	if block.Type == "PKCS7" || block.Type == "CMS" {
		return newUnsupportedError("a PKCS #7 block")
	}
	return newUnsupportedError("a PEM block of an unknown type")
}
