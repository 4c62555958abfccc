package fileformat

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// Format is the format of a file, as users write it.
type Format string

// The formats. PFX and JKS are written by package certificate/keystore.
const (
	// Raw is one value without a change.
	Raw Format = "raw"
	// JSON is an object with a string for each data key.
	JSON Format = "json"
	// DotEnv is a file of shell variables, one for each data key.
	DotEnv Format = "dotenv"
	// Properties is a Java properties file.
	Properties Format = "properties"
	// PFX (PKCS #12) and JKS hold a certificate with its issuers and its private key, protected by a password.
	PFX Format = "pfx"
	JKS Format = "jks"
)

// Formats returns all formats, in the order in which messages list them.
func Formats() []Format { return []Format{Raw, JSON, DotEnv, Properties, PFX, JKS} }

// NeedsPassword reports whether a file of the format is protected by a password.
func (f Format) NeedsPassword() bool { return f == PFX || f == JKS }

// HoldsAllKeys reports whether a file of the format has all data keys of a resource, not one value.
func (f Format) HoldsAllKeys() bool { return f == JSON || f == DotEnv || f == Properties }

// Encode returns the content of a file with the values of a resource, by data key. The same values give the same
// content. Raw needs exactly one value. A value or data key that the format can't express gives fault.Invalid, which
// names the data key and never quotes the value. PFX and JKS give fault.Bug.
func Encode(format Format, values map[string][]byte) ([]byte, error) {
	switch format {
	case Raw:
		return encodeRaw(values)
	case JSON:
		return encodeJSON(values)
	case DotEnv:
		return encodeLines(format, values, dotEnvLine)
	case Properties:
		return encodeLines(format, values, propertiesLine)
	case PFX, JKS:
	}
	return nil, fault.New(fault.Bug, "fileformat.Encode can't write the format %.20q", string(format))
}

func encodeRaw(values map[string][]byte) ([]byte, error) {
	if len(values) != 1 {
		return nil, fault.NewWithNextStep(fault.Invalid,
			"select one with NAME@azurekeyvault?KEY, or choose the format json, dotenv or properties",
			"a file of format raw holds one value, and the resource has %d", len(values))
	}
	for _, value := range values {
		return bytes.Clone(value), nil
	}
	return nil, nil
}

// encodeJSON sorts the data keys, so that the same values are the same file.
func encodeJSON(values map[string][]byte) ([]byte, error) {
	texts := make(map[string]string, len(values))
	for key, value := range values {
		if !utf8.Valid(value) {
			return nil, newValueError(JSON, key, "is not UTF-8", adviceRaw)
		}
		texts[key] = string(value)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(texts); err != nil { // can't happen: every string has a JSON form
		return nil, fault.Wrap(fault.Bug, err, "encoding values as JSON")
	}
	return out.Bytes(), nil
}

// lineEncoder returns the line of a data key and its value, with the newline.
type lineEncoder func(key, value string) (string, error)

// encodeLines writes a line for each data key, sorted, so that the same values are the same file.
func encodeLines(format Format, values map[string][]byte, line lineEncoder) ([]byte, error) {
	var out bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !utf8.Valid(values[key]) {
			return nil, newValueError(format, key, "is not UTF-8", adviceRaw)
		}
		text, err := line(key, string(values[key]))
		if err != nil {
			return nil, err
		}
		out.WriteString(text)
	}
	return out.Bytes(), nil
}

// The next steps for a value that a format can't express.
const (
	adviceRaw  = "use a file of its own with the format raw"
	adviceJSON = "use the format json, or a file of its own with the format raw"
)

// maxShownKey limits the characters of a data key in an error.
const maxShownKey = 253

// newValueError is an error about the value of a data key.
func newValueError(format Format, key, problem, next string) error {
	return fault.NewWithNextStep(fault.Invalid, next, "the value of the data key %.*q %s, which a file of format %s "+
		"can't hold", maxShownKey, key, problem, format)
}
