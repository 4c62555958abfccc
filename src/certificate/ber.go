package certificate

import (
	"encoding/asn1"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// toDER converts BER, which Java and hardware security modules write, to DER, which encoding/asn1 reads: lengths become
// definite and minimal, and octet strings become primitive. The content of octet strings stays unchanged. The input
// must be exactly one element.
func toDER(in []byte) ([]byte, error) {
	b := berReader{elementsLeft: limits.DERElements}
	out, rest, err := b.rewriteElement(in, limits.DERLevels)
	if err != nil || len(rest) > 0 {
		return nil, ErrMalformed
	}
	return out, nil
}

// berReader counts elements, so that a limit bounds the work, and not the lengths in headers.
type berReader struct{ elementsLeft int }

// berHeader is the tag and length of an element.
type berHeader struct {
	// tag is the identifier octets.
	tag []byte
	// length of the content in bytes, or -1 for the indefinite form, which ends with an end-of-contents element.
	length int
}

const (
	tagConstructed   = 0x20
	tagLongForm      = 0x1f
	octetString      = asn1.TagOctetString
	indefiniteLength = 0x80
)

// rewriteElement rewrites the first element as DER and returns the bytes after it.
func (b *berReader) rewriteElement(in []byte, levels int) (out, rest []byte, err error) {
	if b.elementsLeft--; b.elementsLeft < 0 || levels == 0 {
		return nil, nil, ErrMalformed
	}
	h, content, ok := readBERHeader(in)
	if !ok {
		return nil, nil, ErrMalformed
	}
	if h.tag[0]&tagConstructed == 0 {
		if h.length < 0 {
			return nil, nil, ErrMalformed
		}
		return appendElement(h.tag, content[:h.length]), content[h.length:], nil
	}
	children, rest, err := b.rewriteChildren(h, content, levels-1)
	if err != nil {
		return nil, nil, err
	}
	if h.tag[0] == octetString|tagConstructed {
		joined, err := joinOctetStrings(children)
		return appendElement([]byte{octetString}, joined), rest, err
	}
	var body []byte
	for _, child := range children {
		body = append(body, child...)
	}
	return appendElement(h.tag, body), rest, nil
}

// rewriteChildren rewrites the elements inside a constructed element.
func (b *berReader) rewriteChildren(h berHeader, content []byte, levels int) (children [][]byte, rest []byte,
	err error) {
	inside := content
	if h.length >= 0 {
		inside, rest = content[:h.length], content[h.length:]
	}
	for h.length < 0 || len(inside) > 0 {
		if h.length < 0 && len(inside) >= 2 && inside[0] == 0 && inside[1] == 0 {
			return children, inside[2:], nil
		}
		var child []byte
		if child, inside, err = b.rewriteElement(inside, levels); err != nil {
			return nil, nil, err
		}
		children = append(children, child)
	}
	return children, rest, nil
}

// readBERHeader reads tag and length. The content is all that follows; it has at least h.length bytes.
func readBERHeader(in []byte) (h berHeader, content []byte, ok bool) {
	const maxTag, maxLength = 4, 4
	end := 1
	if len(in) < 2 {
		return h, nil, false
	}
	if in[0]&tagLongForm == tagLongForm {
		for end < len(in) && in[end]&0x80 != 0 {
			end++
		}
		end++
	}
	if end > maxTag || end >= len(in) {
		return h, nil, false
	}
	h.tag = in[:end]
	first, in := in[end], in[end+1:]
	switch {
	case first < 0x80:
		h.length = int(first)
	case first == indefiniteLength:
		h.length = -1
	default:
		n := int(first & 0x7f)
		if n > maxLength || n > len(in) {
			return h, nil, false
		}
		for _, octet := range in[:n] {
			h.length = h.length<<8 | int(octet)
		}
		in = in[n:]
	}
	return h, in, h.length <= len(in)
}

// joinOctetStrings concatenates the contents of the octet strings that a constructed octet string consists of.
func joinOctetStrings(pieces [][]byte) ([]byte, error) {
	var joined []byte
	for _, piece := range pieces {
		h, content, ok := readBERHeader(piece)
		if !ok || h.tag[0] != octetString {
			return nil, ErrMalformed
		}
		joined = append(joined, content[:h.length]...)
	}
	return joined, nil
}

func appendElement(tag, content []byte) []byte {
	out := append(make([]byte, 0, len(tag)+5+len(content)), tag...)
	n := len(content)
	switch {
	case n < 0x80:
		out = append(out, byte(n))
	case n < 1<<8:
		out = append(out, 0x81, byte(n))
	case n < 1<<16:
		out = append(out, 0x82, byte(n>>8), byte(n))
	case n < 1<<24:
		out = append(out, 0x83, byte(n>>16), byte(n>>8), byte(n))
	default:
		out = append(out, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(out, content...)
}
