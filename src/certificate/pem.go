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

// blockError says which block of a PEM can't be read, and why.
type blockError struct {
	number int
	reason string
}

// Error implements error.
func (e blockError) Error() string { return fmt.Sprintf("block %d of the PEM %s", e.number, e.reason) }

// Is makes it an ErrMalformed.
func (blockError) Is(target error) bool { return target == ErrMalformed }

var (
	// remains is what is left of a damaged first or last line, or of a block without them.
	remains = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(BEGIN|END) [A-Z0-9 ]*(CERTIFICATE|KEY)|--(BEGIN|END)|(^|\n)[ \t]*MII[A-Za-z0-9+/=]{40}`)
	})
	label = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Z0-9][A-Z0-9 .#-]*$`) })
)

const (
	beginMark = "-----BEGIN "
	endMark   = "-----END "
	dashes    = "-----"
)

// Blocks gives every block of a PEM, in order. What is harmless is taken: byte-order marks, any line ends, indentation,
// several blocks in one line, text between them. Everything else is an error that names the block: none is left out.
func Blocks(content []byte) ([]*pem.Block, error) {
	if isUTF16(content) {
		return nil, ErrUTF16
	}
	text := strings.ReplaceAll(string(content), "\ufeff", "")
	var blocks []*pem.Block
	for {
		before, rest, found := strings.Cut(text, beginMark)
		number := len(blocks) + 1
		switch {
		case remains().MatchString(before):
			return nil, blockError{number, "is damaged: its first or last line is missing or misspelt"}
		case !found:
			return blocks, nil
		case number > limits.PEMBlocks:
			return nil, ErrTooMany
		}
		block, after, reason := cutBlock(rest)
		if reason != "" {
			return nil, blockError{number, reason}
		}
		blocks, text = append(blocks, block), after
	}
}

// isUTF16 knows it by its byte-order mark, or by the zeros that each letter of ASCII has there.
func isUTF16(content []byte) bool {
	return bytes.HasPrefix(content, []byte{0xFE, 0xFF}) || bytes.HasPrefix(content, []byte{0xFF, 0xFE}) ||
		bytes.Contains(content, []byte("\x00-\x00-\x00-"))
}

// cutBlock reads a block from behind its beginning mark.
func cutBlock(rest string) (block *pem.Block, after, reason string) {
	name, rest, found := strings.Cut(rest, dashes)
	if !found || !label().MatchString(name) {
		return nil, "", "is damaged: its first line is misspelt"
	}
	body, after, found := strings.Cut(rest, endMark+name+dashes)
	if !found || strings.Contains(body, beginMark) {
		return nil, "", "is damaged: its last line is missing, or names something else"
	}
	headers, body := cutHeaders(body)
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

// cutHeaders takes off the lines with a colon, which say how a key is encrypted.
func cutHeaders(body string) (map[string]string, string) {
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

// parsePEM takes blocks in any order. What has neither certificate nor private key is left out if it is known to have
// none.
func parsePEM(content []byte, password string) (Bundle, error) {
	blocks, err := Blocks(content)
	if err != nil {
		return Bundle{}, err
	}
	if countKeys(blocks) > 1 {
		return Bundle{}, ErrKeys
	}
	var b Bundle
	for i, block := range blocks {
		err := b.addBlock(block, password)
		if errors.Is(err, ErrMalformed) && !errors.Is(err, ErrRounds) {
			err = blockError{i + 1, "is damaged: it can't be read as " + kindOf(block.Type)}
		}
		if err != nil {
			return Bundle{}, err
		}
	}
	if len(b.Certificates) == 0 {
		return Bundle{}, ErrEmpty
	}
	return b, nil
}

// countKeys is asked before a key is read, which may be work.
func countKeys(blocks []*pem.Block) (keys int) {
	for _, block := range blocks {
		if kindOf(block.Type) == kindKey {
			keys++
		}
	}
	return keys
}

// Kinds of block.
const (
	kindCertificate = "a certificate"
	kindTrusted     = "a certificate of OpenSSL with trust"
	kindKey         = "a private key"
	kindNothing     = "nothing"
	kindUnknown     = ""
)

func kindOf(name string) string {
	switch name {
	case "CERTIFICATE", "X509 CERTIFICATE":
		return kindCertificate
	case "TRUSTED CERTIFICATE":
		return kindTrusted
	case "EC PARAMETERS", "DH PARAMETERS", "X9.42 DH PARAMETERS", "DSA PARAMETERS", "PUBLIC KEY", "RSA PUBLIC KEY",
		"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST", "X509 CRL":
		return kindNothing
	}
	if strings.HasSuffix(name, "PRIVATE KEY") {
		return kindKey
	}
	return kindUnknown
}

func (b *Bundle) addBlock(block *pem.Block, password string) error {
	switch kindOf(block.Type) {
	case kindCertificate:
		return b.add(block.Bytes)
	case kindTrusted:
		h, content, ok := readHeader(block.Bytes)
		if !ok || h.length < 0 {
			return ErrMalformed
		}
		return b.add(block.Bytes[:len(block.Bytes)-len(content)+h.length])
	case kindKey:
		var err error
		b.Key, err = parseKey(block, password)
		return err
	case kindNothing:
		return nil
	}
	if block.Type == "PKCS7" || block.Type == "CMS" {
		return unsupported("a PKCS #7 block")
	}
	return unsupported("a PEM block of an unknown type")
}
