package transform

import (
	"bytes"
	"encoding/base64"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

type step func([]byte) ([]byte, error)

func steps() map[string]step {
	return map[string]step{
		"trim":         func(b []byte) ([]byte, error) { return bytes.TrimSpace(b), nil },
		"base64encode": func(b []byte) ([]byte, error) { return base64.StdEncoding.AppendEncode(nil, b), nil },
		"base64decode": decodeBase64,
	}
}

// Known says whether a transform of that name exists.
func Known(name string) bool {
	_, ok := steps()[name]
	return ok
}

// Apply runs the named transforms in order. An unknown name is fault.Invalid; a value that a transform can't take is
// fault.Malformed, and the error does not quote it.
func Apply(names []string, value []byte) ([]byte, error) {
	known := steps()
	for _, name := range names {
		apply, ok := known[name]
		if !ok {
			return nil, fault.New(fault.Invalid, "transform %q is not known; use trim, base64encode or base64decode", name)
		}
		var err error
		if value, err = apply(value); err != nil {
			return nil, err
		}
	}
	return value, nil
}

func decodeBase64(b []byte) ([]byte, error) {
	out, err := base64.StdEncoding.AppendDecode(nil, b)
	if err != nil {
		return nil, fault.New(fault.Malformed, "transform base64decode: the value is not standard base64; put trim before it "+
			"if the value has surrounding white space, or remove the transform")
	}
	return out, nil
}
