package ociimage

import (
	"errors"
	"io"

	"github.com/akv2k8s/akv2k8s/src/fairshare"
)

// errAnswersTooLarge reports that the answers to concurrent look-ups hold too many bytes together. It says nothing
// about the registry.
var errAnswersTooLarge = errors.New("concurrent image look-ups hold too many bytes")

// initialAnswerBytes is the first size of the buffer for an answer. It doubles as the answer grows.
const initialAnswerBytes = 16 << 10

// answerMemory counts the bytes of the answers that one look-up holds, in the share of its namespace. The zero value
// has no limit. It is not safe for concurrent use: the calls of one look-up follow each other.
type answerMemory struct {
	pool  *fairshare.Pool
	owner string
	// blob are the bytes of the latest configuration, which replaces the one before; others are those of all other
	// answers, which stay until the look-up ends.
	blob, others int64
}

// acquire takes more bytes, or returns errAnswersTooLarge.
func (m *answerMemory) acquire(bytes int64) error {
	if m.pool != nil && !m.pool.TryAcquire(m.owner, bytes) {
		return errAnswersTooLarge
	}
	return nil
}

func (m *answerMemory) release(bytes int64) {
	if m.pool != nil {
		m.pool.Release(m.owner, bytes)
	}
}

// releaseAll releases all bytes at the end of the look-up.
func (m *answerMemory) releaseAll() {
	m.release(m.blob + m.others)
	m.blob, m.others = 0, 0
}

// read reads an answer of at most limit bytes, and one byte more of a longer one. It takes memory only for bytes that
// have arrived, so a registry that promises a long answer and does not send it holds nothing.
func (m *answerMemory) read(from io.Reader, of contentKind, limit int64) ([]byte, error) {
	if of == contentBlob {
		m.release(m.blob)
		m.blob = 0
	}
	held := &m.others
	if of == contentBlob {
		held = &m.blob
	}
	var buffer []byte
	size := int64(0)
	for {
		if int64(len(buffer)) == size {
			if size == limit+1 {
				return buffer, nil
			}
			larger := min(max(2*size, initialAnswerBytes), limit+1)
			if err := m.acquire(larger - size); err != nil {
				return nil, err
			}
			*held += larger - size
			grown := make([]byte, len(buffer), larger)
			copy(grown, buffer)
			buffer, size = grown, larger
		}
		n, err := from.Read(buffer[len(buffer):size])
		buffer = buffer[:len(buffer)+n]
		switch {
		case errors.Is(err, io.EOF):
			return buffer, nil
		case err != nil:
			return nil, err
		}
	}
}
