package keyvault

import (
	"bytes"
	"fmt"
	"log/slog"
)

// Redacted is the text that a Value prints as in every format.
const Redacted = "[redacted]"

// Value is the content of a vault object. It prints as Redacted through fmt, slog, JSON and every text encoding. Only
// Reveal returns the bytes, so a search for Reveal finds every place where a secret leaves the type.
type Value struct {
	// content sits behind a function, because reflection-based printers (a debugger's dump, go-spew, testify's diff)
	// follow pointers and slices but can't look into a closure.
	content func() []byte
}

// NewValue returns a Value that holds a copy of b.
func NewValue(b []byte) Value {
	c := bytes.Clone(b)
	return Value{content: func() []byte { return c }}
}

// Reveal returns a copy of the content; nil for the zero Value.
func (v Value) Reveal() []byte {
	if v.content == nil {
		return nil
	}
	return bytes.Clone(v.content())
}

// Len returns the number of bytes.
func (v Value) Len() int {
	if v.content == nil {
		return 0
	}
	return len(v.content())
}

// Wipe overwrites the content with zeros. Copies of a Value share their content: call Wipe only on a value that was not
// passed on.
func (v Value) Wipe() {
	if v.content != nil {
		clear(v.content())
	}
}

// Equal reports whether two values hold the same bytes.
func (v Value) Equal(other Value) bool {
	return bytes.Equal(v.Reveal(), other.Reveal())
}

// String implements fmt.Stringer.
func (Value) String() string { return Redacted }

// GoString implements fmt.GoStringer, for %#v.
func (Value) GoString() string { return Redacted }

// Format implements fmt.Formatter, so no verb (%x, %q, %d, %+v) prints the content.
func (Value) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(Redacted)) }

// LogValue implements slog.LogValuer.
func (Value) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalJSON implements json.Marshaler.
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalText implements encoding.TextMarshaler for YAML and XML encoders.
func (Value) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
