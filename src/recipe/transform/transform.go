package transform

import (
	"bytes"
	"encoding/base64"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// transform is one transform.
type transform struct {
	// maxSize is the maximum size of the result for a value of n bytes.
	maxSize func(n int) int
	apply   func([]byte) ([]byte, error)
}

func knownTransforms() map[string]transform {
	unchanged := func(n int) int { return n }
	return map[string]transform{
		"trim": {unchanged, func(b []byte) ([]byte, error) { return bytes.TrimSpace(b), nil }},
		"base64encode": {base64.StdEncoding.EncodedLen,
			func(b []byte) ([]byte, error) { return base64.StdEncoding.AppendEncode(nil, b), nil }},
		"base64decode": {unchanged, decodeBase64},
	}
}

// IsKnown reports whether a transform with the name exists.
func IsKnown(name string) bool {
	_, ok := knownTransforms()[name]
	return ok
}

// Apply applies the named transforms in order. An unknown name gives fault.Invalid. A value that a transform can't
// process, or that can become larger than maxBytes, gives fault.Malformed. Errors never quote the value. Apply checks
// the size before each transform.
func Apply(names []string, value []byte, maxBytes int) ([]byte, error) {
	known := knownTransforms()
	for _, name := range names {
		s, ok := known[name]
		if !ok {
			return nil, fault.New(fault.Invalid, "transform %q is not known; use trim, base64encode or base64decode",
				name)
		}
		if s.maxSize(len(value)) > maxBytes {
			return nil, fault.New(fault.Malformed,
				"transform %s: the value becomes too large; remove transforms, or store a smaller value", name)
		}
		var err error
		if value, err = s.apply(value); err != nil {
			return nil, err
		}
	}
	return value, nil
}

func decodeBase64(b []byte) ([]byte, error) {
	out, err := base64.StdEncoding.AppendDecode(nil, b)
	if err != nil {
		return nil, fault.New(fault.Malformed,
			"transform base64decode: the value is not standard base64; put trim before it "+
				"if the value has surrounding white space, or remove the transform")
	}
	return out, nil
}
