package certificate_test

import (
	"bytes"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

func TestHarmlessDamageOfAPEMIsMended(t *testing.T) {
	whole := string(vector(t, "ordered.pem"))
	lines := strings.Split(strings.TrimSpace(whole), "\n")
	indented := "  " + strings.Join(lines, "\n\t  ")
	for name, content := range map[string]string{
		"a byte-order mark":                   "\ufeff" + whole,
		"a byte-order mark before each block": strings.ReplaceAll(whole, "-----BEGIN", "\ufeff-----BEGIN"),
		"lines of Windows":                    strings.ReplaceAll(whole, "\n", "\r\n"),
		"lines of old Macs":                   strings.ReplaceAll(whole, "\n", "\r"),
		"blank lines between":                 strings.ReplaceAll(whole, "\n", "\n\n"),
		"indentation, as in YAML":             indented,
		"blanks at the ends of lines":         strings.ReplaceAll(whole, "\n", " \t\n"),
		"no line end at the end":              strings.TrimSpace(whole),
		"blocks glued on one line":            strings.ReplaceAll(whole, "-----\n-----BEGIN", "----------BEGIN"),
		"all in one line, with blanks":        strings.ReplaceAll(whole, "\n", " "),
		"base64 in one line":                  joinBodies(lines),
		"text before, between and behind":     "Bag Attributes\n  friendlyName: x\n" + strings.ReplaceAll(whole, "-----BEGIN CERT", "subject=CN = a\n-----BEGIN CERT") + "\nthe end",
		"a parameter block":                   "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + whole,
		"the older name of a certificate":     strings.ReplaceAll(whole, " CERTIFICATE-", " X509 CERTIFICATE-"),
		"no-break spaces":                     strings.ReplaceAll(whole, "\n", "\u00a0\n"),
	} {
		t.Run(name, func(t *testing.T) {
			bundle, err := certificate.Parse([]byte(content), "")
			require.NoError(t, err)
			assert.Equal(t, "leaf middle root", namesOf(bundle.Certificates), "no block is lost")
			assert.NotNil(t, bundle.Key)
		})
	}
	trusted, err := certificate.Parse(vector(t, "trusted.pem"), "")
	require.NoError(t, err)
	assert.NotNil(t, trusted.Leaf(), "openssl's certificates with trust have it behind the certificate")
}

// joinBodies puts the base64 of each block on one line.
func joinBodies(lines []string) string {
	var out strings.Builder
	for _, line := range lines {
		if strings.HasPrefix(line, "-----") {
			out.WriteString("\n" + line + "\n")
			continue
		}
		out.WriteString(line)
	}
	return out.String()
}

func TestADamagedPEMBlockIsNamedAndNeverLeftOut(t *testing.T) {
	whole := string(vector(t, "ordered.pem"))
	// The blocks are the key, leaf, middle and root; the third one is damaged.
	third := strings.Index(whole, "-----BEGIN CERT")
	third += 1 + strings.Index(whole[third+1:], "-----BEGIN CERT")
	head, tail := whole[:third], whole[third:]
	first := func(old, replacement string) string { return head + strings.Replace(tail, old, replacement, 1) }
	middle := strings.Split(tail, "\n")
	for name, c := range map[string]struct{ content, says string }{
		"a letter that is not base64":         {first(middle[3], "!"+middle[3][1:]), "block 3"},
		"a line that is missing":              {first(middle[3]+"\n", ""), "block 3"},
		"a letter that is missing":            {first(middle[3], middle[3][1:]), "block 3"},
		"another letter":                      {first(middle[2][:8], "AAAAAAAA"), "block 3"},
		"no last line":                        {first("-----END CERTIFICATE-----\n", ""), "block 3"},
		"no first line":                       {first("-----BEGIN CERTIFICATE-----\n", ""), "block 3"},
		"four dashes at the first line":       {first("-----BEGIN", "----BEGIN"), "block 3"},
		"four dashes at the last line":        {first("-----END", "----END"), "block 3"},
		"four dashes behind the first line":   {first("CERTIFICATE-----", "CERTIFICATE----"), "block 3"},
		"dashes of a word processor":          {first("-----BEGIN CERTIFICATE-----", "—–BEGIN CERTIFICATE—–"), "block 3"},
		"both lines with such dashes":         {first("-----BEGIN CERTIFICATE-----", "—–BEGIN CERTIFICATE—–")[:third] + strings.Replace(strings.Replace(tail, "-----BEGIN CERTIFICATE-----", "—–BEGIN CERTIFICATE—–", 1), "-----END CERTIFICATE-----", "—–END CERTIFICATE—–", 1), "block 3"},
		"neither first nor last line":         {head + strings.Join(middle[1:20], "\n") + "\n" + tail[strings.Index(tail, "-----END")+26:], "block 3"},
		"the last line of another type":       {first("-----END CERTIFICATE-----", "-----END PUBLIC KEY-----"), "block 3"},
		"small letters":                       {first("-----BEGIN CERTIFICATE", "-----BEGIN certificate"), "block 3"},
		"line ends as two characters":         {head + strings.ReplaceAll(tail, "\n", `\n`), `two characters \n`},
		"an empty block":                      {head + "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n" + tail, "block 3"},
		"a certificate with something behind": {first(middle[1][:4], "MIIA"), "block 3"},
		"cut off":                             {whole[:len(whole)-100], "block 4"},
		"a key that is cut off":               {whole[:500], "block 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := certificate.Parse([]byte(c.content), "")
			assert.ErrorIs(t, err, certificate.ErrMalformed)
			assert.ErrorContains(t, err, c.says)
			assert.NotContains(t, err.Error(), middle[3], "nothing of it is quoted")
		})
	}
}

func TestUTF16IsNamed(t *testing.T) {
	var little, big bytes.Buffer
	for _, c := range string(vector(t, "ordered.pem")) {
		little.Write([]byte{byte(c), 0})
		big.Write([]byte{0, byte(c)})
	}
	for _, content := range [][]byte{little.Bytes(), big.Bytes(), append([]byte{0xFF, 0xFE}, little.Bytes()...), append([]byte{0xFE, 0xFF}, big.Bytes()...)} {
		_, err := certificate.Parse(content, "")
		assert.ErrorIs(t, err, certificate.ErrUTF16)
	}
}

// FuzzBlocks holds that a PEM never loses a block: there are as many as first lines, or an error.
func FuzzBlocks(f *testing.F) {
	for _, name := range []string{"ordered.pem", "windows.pem", "encrypted.pem", "pkcs7.pem"} {
		f.Add(vector(f, name))
	}
	f.Add([]byte("-----BEGIN A-----\n-----BEGIN B-----\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		var blocks []*pem.Block
		var err error
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: time.Second, Bytes: 1 << 20, PerByte: 500}, len(content), func() { blocks, err = certificate.DecodePEMBlocks(content) })
		if err == nil && len(blocks) < bytes.Count(content, []byte("-----BEGIN ")) {
			t.Fatalf("%d blocks of %q", len(blocks), content)
		}
	})
}
