package fairshare

import (
	"errors"
	"io"
)

// ErrShareExceeded means that the share of a key does not allow the bytes of a body.
var ErrShareExceeded = errors.New("the share of the key does not allow more bytes")

// initialBufferBytes is the first size of a buffer. It doubles as the body grows.
const initialBufferBytes = 16 << 10

// ReadAll reads a body of at most limit bytes, and one byte more of a longer one, into memory that it takes from the
// key's share. It takes memory only for bytes that have arrived: a server that promises a long body and does not send
// it holds little. held is what it took, also with an error; the caller releases it. A nil Pool has no limit.
func (p *Pool) ReadAll(key string, from io.Reader, limit int64) (content []byte, held int64, err error) {
	size := int64(0)
	for {
		if int64(len(content)) == size {
			if size == limit+1 {
				return content, held, nil
			}
			larger := min(max(2*size, initialBufferBytes), limit+1)
			if p != nil && !p.TryAcquire(key, larger-size) {
				return nil, held, ErrShareExceeded
			}
			if p != nil {
				held = larger
			}
			grown := make([]byte, len(content), larger)
			copy(grown, content)
			content, size = grown, larger
		}
		n, err := from.Read(content[len(content):size])
		content = content[:len(content)+n]
		switch {
		case errors.Is(err, io.EOF):
			return content, held, nil
		case err != nil:
			return nil, held, err
		}
	}
}
