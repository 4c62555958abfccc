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

// either uses the first credential, or the second if Entra ID does not know the first. It keeps the one that worked.
type either struct {
	first, second azcore.TokenCredential
	// turn admits one caller at a time, so many callers at startup cause one rejected request.
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
	case <-ctx.Done(): // the first credential returns a classified error
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

// lookAgain is the interval at which the files of a credential are checked for changes.
const lookAgain = 10 * time.Second

// watched reads the files of a credential and stores a hash of each.
type watched struct {
	readFile func(string) ([]byte, error)
	sums     map[string][]byte
}

// read reads a file and stores its hash. The parsers of azure.json and of certificates limit the size.
func (w *watched) read(path string) ([]byte, error) {
	content, err := w.readFile(path)
	sum := sha256.Sum256(content)
	w.sums[path] = sum[:]
	return content, err
}

// changed reports whether the content of a file changed. An unreadable file counts as unchanged, so the last valid
// credential stays.
func (w *watched) changed() bool {
	for path, sum := range w.sums {
		content, err := w.readFile(path)
		if now := sha256.Sum256(content); err == nil && !bytes.Equal(now[:], sum) {
			return true
		}
	}
	return false
}

// reloading recreates its credential when one of its files changes.
type reloading struct {
	config Config
	build  func(*watched) (azcore.TokenCredential, error)

	mu      sync.Mutex
	current azcore.TokenCredential
	files   *watched
	looked  time.Time
	// failed is the error of the current files; nil if they are valid.
	failed error
}

func (c Config) reload(build func(*watched) (azcore.TokenCredential, error)) (azcore.TokenCredential, error) {
	r := &reloading{config: c, build: build}
	return r, r.renew()
}

// renew creates the credential from the current files; the caller holds mu or is the constructor.
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

// latest returns the credential of the current files. Invalid new content is an error, as it is at startup: the old
// credential may be revoked, and its continued use would hide the mistake until it expires.
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

// why returns the reason of a file error without the path, which the caller adds.
func why(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}
