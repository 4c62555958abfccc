package credential

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// either is the first credential, or the second if the first is not known to Azure. What worked once is kept.
type either struct {
	first, second azcore.TokenCredential
	// turn is held by the one who finds out; the others wait, so that many at a start cost one refusal.
	turn  chan struct{}
	works azcore.TokenCredential
}

func newEither(first, second azcore.TokenCredential) *either {
	return &either{first: first, second: second, turn: make(chan struct{}, 1)}
}

// GetToken implements azcore.TokenCredential.
func (e *either) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done(): // the first says the same in words
		return e.first.GetToken(ctx, options)
	}
	if e.works != nil {
		return e.works.GetToken(ctx, options)
	}
	token, err := e.first.GetToken(ctx, options)
	if err == nil {
		e.works = e.first
		return token, nil
	}
	if fault.KindOf(err) != fault.Unauthenticated {
		return token, err
	}
	token, secondErr := e.second.GetToken(ctx, options)
	if secondErr != nil {
		return token, err
	}
	e.works = e.second
	return token, nil
}

// lookAgain is how often files are compared with what a credential was made of.
const lookAgain = 10 * time.Second

// watched are the files that a credential is made of, with a hash of each.
type watched struct {
	readFile func(string) ([]byte, error)
	sums     map[string][]byte
}

// read reads a file. Its size is bounded by those who parse it: cloud.ParseConfig and certificate.Parse.
func (w *watched) read(path string) ([]byte, error) {
	content, err := w.readFile(path)
	sum := sha256.Sum256(content)
	w.sums[path] = sum[:]
	return content, err
}

// changed says whether a file has another content now. One that can't be read has not: the last good credential stays.
func (w *watched) changed() bool {
	for path, sum := range w.sums {
		content, err := w.readFile(path)
		if now := sha256.Sum256(content); err == nil && !bytes.Equal(now[:], sum) {
			return true
		}
	}
	return false
}

// reloading makes its credential anew when a file that it is made of changes.
type reloading struct {
	config Config
	build  func(*watched) (azcore.TokenCredential, error)

	mu      sync.Mutex
	current azcore.TokenCredential
	files   *watched
	looked  time.Time
	// failed says why the files as they are now can't be used; nil if they can.
	failed error
}

func (c Config) reload(build func(*watched) (azcore.TokenCredential, error)) (azcore.TokenCredential, error) {
	r := &reloading{config: c, build: build}
	return r, r.renew()
}

// renew builds a credential; the caller holds mu or is alone.
func (r *reloading) renew() error {
	files := &watched{readFile: r.config.ReadFile, sums: map[string][]byte{}}
	credential, err := r.build(files)
	if err != nil {
		return err
	}
	r.current, r.files, r.looked = credential, files, r.config.Clock()
	return nil
}

// GetToken implements azcore.TokenCredential.
func (r *reloading) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	credential, err := r.latest()
	if err != nil {
		return azcore.AccessToken{}, final{err}
	}
	return credential.GetToken(ctx, options)
}

// latest is the credential of the files as they are. New content that can't be used is an error, told as at start: the
// old credential may be revoked, and a silent fallback would hide the mistake until it expires.
func (r *reloading) latest() (azcore.TokenCredential, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.config.Clock().Sub(r.looked) >= lookAgain {
		r.looked = r.config.Clock()
		r.failed = nil
		if r.files.changed() {
			r.failed = r.renew()
		}
	}
	return r.current, r.failed
}

// why says why a file can't be read, without its path, which the caller has said.
func why(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}
