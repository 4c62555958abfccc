package decode

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// checkNoPrivateKeys rejects values that contain a private key, in the formats that common tools write, also inside up
// to limits.KeyScanLevels layers of encoding. It prevents accidents, not attacks: a user can write a key in an unknown
// format on purpose.
func (s *privateKeyScanner) checkNoPrivateKeys(values map[string]keyvault.Value) error {
	for _, value := range values {
		if value.Len() == 0 {
			continue
		}
		s.pfxLeft = maxParsedPFX
		found := s.hasPrivateKey(value.Reveal(), limits.KeyScanLevels)
		switch {
		case s.exceededRounds:
			return certificateError(certificate.ErrTooManyRoundsOfAll)
		case found:
			return fault.New(fault.Malformed,
				"the value holds a private key, which never goes into a ConfigMap; use spec.output.secret")
		case s.bytesLeft < 0:
			return fault.New(fault.Malformed,
				"the values have too much nested encoding to be checked for private keys; use spec.output.secret, or "+
					"several resources")
		}
	}
	return nil
}

// maxParsedPFX is the maximum of PFX files to parse in one value; further ones count as private keys.
const maxParsedPFX = 3

// privateKeyScanner searches the values of one output for private keys, with limited work.
type privateKeyScanner struct {
	parser *certificate.Parser
	// bytesLeft are the bytes left for all values, pfxLeft the PFX files left for this value.
	bytesLeft, pfxLeft int
	// exceededRounds is true if the parser rejected a PFX because of the files before it.
	exceededRounds bool
}

func newPrivateKeyScanner(parser *certificate.Parser) privateKeyScanner {
	return privateKeyScanner{parser: parser, bytesLeft: limits.KeyScanBytes}
}

// privateKeyMarkers returns texts that identify private keys, in upper case.
func privateKeyMarkers() []string {
	return []string{
		"PRIVATE KEY-----", "PRIVATE KEY ----", "PGP PRIVATE KEY", "PGP SECRET KEY", "PUTTY-USER-KEY-FILE-",
		"AGE-SECRET-KEY-", "AGE-PLUGIN-", "SSH PRIVATE KEY FILE FORMAT",
		"OPENSSH-KEY-V1\x00", "PRIVATE-KEY-FORMAT:", "<RSAKEYVALUE>", "MINISIGN ENCRYPTED SECRET KEY",
		"SIGNIFY SECRET KEY",
	}
}

// wireGuardKeyPattern matches the private key in a WireGuard configuration.
var wireGuardKeyPattern = regexp.MustCompile(`(?i)privatekey\s*=\s*[a-z0-9+/]{42}[a-z0-9+/=]`)

// minEncodedLength is the minimum length of base64 or hexadecimal text to decode; a shorter text can't hold a key.
const minEncodedLength = 40

// isEncodedRune reports whether a character belongs to a base64 alphabet, which includes the hexadecimal digits.
func isEncodedRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '+' || r == '/' || r == '-' ||
		r == '_'
}

func isNotEncodedRune(r rune) bool { return !isEncodedRune(r) }

var (
	escapeReplacer    = strings.NewReplacer(`\r`, "\n", `\n`, "\n", `\/`, "/")
	base64URLReplacer = strings.NewReplacer("-", "+", "_", "/")
)

// hasPrivateKey reports whether the content, or data that it encodes, contains a private key.
func (s *privateKeyScanner) hasPrivateKey(content []byte, levels int) bool {
	if s.bytesLeft -= len(content); s.bytesLeft < 0 {
		return false
	}
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	if isPlainPrivateKey(content) || s.isPFXWithKey(content) {
		return true
	}
	if levels == 0 {
		return false
	}
	return slices.ContainsFunc(decodeOneLayer(content),
		func(inner []byte) bool { return s.hasPrivateKey(inner, levels-1) })
}

// isPlainPrivateKey detects private keys without a further layer of encoding.
func isPlainPrivateKey(content []byte) bool {
	capitals := bytes.ToUpper(content)
	for _, mark := range privateKeyMarkers() {
		if bytes.Contains(capitals, []byte(mark)) &&
			(mark != "<RSAKEYVALUE>" || bytes.Contains(capitals, []byte("<D>"))) {
			return true
		}
	}
	isWireGuard := bytes.Contains(capitals, []byte("PRIVATEKEY")) && wireGuardKeyPattern.Match(content)
	return isWireGuard || certificate.IsPrivateKey(content) || isBinaryPrivateKey(content) || isPrivateJWK(content)
}

// isBinaryPrivateKey detects the binary formats of OpenPGP, Java and Windows.
func isBinaryPrivateKey(content []byte) bool {
	// The object identifier of the algorithm that protects keys in Java key stores.
	javaKey := []byte{0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01}
	if bytes.Contains(content, javaKey) {
		return true
	}
	const shortest = 12
	if len(content) < shortest {
		return false
	}
	windows := []string{"RSA2", "RSA3", "ECS2", "ECS4", "ECS6", "ECK2", "ECK4", "ECK6"}
	blob := content
	if content[0] == 7 && content[1] == 2 { // PRIVATEKEYBLOB
		blob = content[8:]
	}
	if slices.Contains(windows, string(blob[:4])) && (len(blob) < 8 || binary.LittleEndian.Uint16(blob[6:]) == 0) {
		return true
	}
	return binary.LittleEndian.Uint32(content) == 0xb0b5f11e || isPGPSecretKey(content)
}

// isPGPSecretKey detects a secret-key packet (RFC 9580, section 4.2). Its tag is 5, or 7 for a subkey; a version and a
// date follow the length.
func isPGPSecretKey(content []byte) bool {
	tag, length := content[0]>>2&0xf, 1<<(content[0]&3)
	switch {
	case content[0]&0xc0 == 0xc0:
		tag, length = content[0]&0x3f, 1
		if content[1] >= 192 {
			length = 2
		}
		if content[1] == 255 {
			length = 5
		}
	case content[0]&0xc0 != 0x80 || length > 4:
		return false
	}
	version, algorithm := content[1+length], content[1+length+5]
	return (tag == 5 || tag == 7) && version >= 3 && version <= 6 &&
		(algorithm <= 3 || algorithm >= 16 && algorithm <= 28)
}

// isPFXWithKey reports whether the content is a PFX with a private key. An encrypted or unreadable PFX counts as
// one.
func (s *privateKeyScanner) isPFXWithKey(content []byte) bool {
	if !certificate.IsPFX(content) {
		return false
	}
	if s.pfxLeft--; s.pfxLeft < 0 {
		return true
	}
	_, err := s.parser.Parse(content, "")
	s.exceededRounds = s.exceededRounds || errors.Is(err, certificate.ErrTooManyRoundsOfAll)
	return !errors.Is(err, certificate.ErrNoKey) && !errors.Is(err, certificate.ErrNoCertificate)
}

// decodeOneLayer decodes one layer of encoding: gzip, the strings of JSON, UTF-16, percent encoding, base64 and
// hexadecimal digits.
func decodeOneLayer(content []byte) (inner [][]byte) {
	if unzipped := decompressGzip(content); unzipped != nil {
		return [][]byte{unzipped}
	}
	if texts, ok := jsonStrings(content); ok {
		return texts
	}
	if zeros := bytes.Count(content, []byte{0}); zeros > len(content)/3 {
		inner = append(inner, bytes.ReplaceAll(content, []byte{0}, nil))
	}
	text := escapeReplacer.Replace(string(content))
	if strings.ContainsAny(text, "%") {
		if plain, err := url.QueryUnescape(text); err == nil && plain != text {
			inner = append(inner, []byte(plain))
		}
	}
	text = joinWrappedLines(text)
	for run := range strings.FieldsFuncSeq(text, isNotEncodedRune) {
		if len(run) < minEncodedLength {
			continue
		}
		if plain, err := hex.DecodeString(run[:len(run)/2*2]); err == nil {
			inner = append(inner, plain)
		}
		if plain, err := decodeBase64(run); err == nil {
			inner = append(inner, plain)
		}
	}
	return inner
}

// decodeBase64 decodes both alphabets, without padding. It drops a last character that does not complete a byte.
func decodeBase64(run string) ([]byte, error) {
	if len(run)%4 == 1 {
		run = run[:len(run)-1]
	}
	if strings.ContainsAny(run, "-_") {
		run = base64URLReplacer.Replace(run)
	}
	return base64.RawStdEncoding.DecodeString(run)
}

// joinWrappedLines joins base64 that is wrapped into several lines, indented or not. The first line must have at least
// 40 characters; a shorter line ends the text.
func joinWrappedLines(text string) string {
	var out strings.Builder
	width := 0 // the width of the lines being joined, 0 if none are
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		allCode := trimmed != "" && strings.IndexFunc(strings.TrimRight(trimmed, "="), isNotEncodedRune) < 0
		if width == 0 || !allCode {
			out.WriteByte('\n')
		}
		out.WriteString(trimmed)
		switch {
		case !allCode || width > 0 && len(trimmed) < width:
			width = 0
		case width == 0 && len(trimmed) >= minEncodedLength:
			width = len(trimmed)
		}
	}
	return out.String()
}

// decompressGzip returns nil for content that is not gzip. It decompresses at most limits.OutputBytes.
func decompressGzip(content []byte) []byte {
	reader, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil
	}
	plain, _ := io.ReadAll(io.LimitReader(reader, limits.OutputBytes)) // damaged data: the part before the damage
	return plain
}

// jsonStrings returns all strings of a JSON value, including keys, that are longer than four bytes.
func jsonStrings(content []byte) (texts [][]byte, ok bool) {
	trimmed := bytes.TrimSpace(content)
	if len(trimmed) == 0 || !bytes.ContainsAny(trimmed[:1], `{["`) || !json.Valid(trimmed) {
		return nil, false
	}
	decoder := json.NewDecoder(bytes.NewReader(trimmed))
	for {
		token, err := decoder.Token()
		if err != nil {
			return texts, true
		}
		if text, ok := token.(string); ok && len(text) > 4 {
			texts = append(texts, []byte(text))
		}
	}
}

// isPrivateJWK reports whether JSON contains a JSON web key (RFC 7518) with a private member at any depth: d and the
// like, or k of a symmetric key.
func isPrivateJWK(content []byte) bool {
	trimmed := bytes.TrimSpace(content)
	if len(trimmed) == 0 || !bytes.ContainsAny(trimmed[:1], "{[") || !bytes.Contains(trimmed, []byte("kty")) &&
		!bytes.Contains(trimmed, []byte(`\u00`)) || !json.Valid(trimmed) {
		return false
	}
	found, _ := containsPrivateJWK(json.NewDecoder(bytes.NewReader(trimmed)))
	return found
}

// containsPrivateJWK reads one JSON value and reports whether it contains a private JSON web key.
func containsPrivateJWK(decoder *json.Decoder) (bool, error) {
	token, err := decoder.Token()
	delimiter, ok := token.(json.Delim)
	if err != nil || !ok {
		return false, err
	}
	typed, private := false, false
	for decoder.More() {
		if delimiter == '{' {
			key, err := decoder.Token()
			if err != nil {
				return false, err
			}
			name, _ := key.(string)
			typed = typed || name == "kty"
			private = private || slices.Contains([]string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}, name)
		}
		if found, err := containsPrivateJWK(decoder); found || err != nil {
			return found, err
		}
	}
	_, err = decoder.Token()
	return typed && private, err
}
