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

// credentialPair uses the first credential, or the second if Entra ID does not know the first. It keeps the one that
// worked.
type credentialPair struct {
	first, second azcore.TokenCredential
	// probeSlot admits one caller at a time, so many callers at startup cause one rejected request.
	probeSlot chan struct{}
	working   azcore.TokenCredential
}

func newCredentialPair(first, second azcore.TokenCredential) *credentialPair {
	return &credentialPair{first: first, second: second, probeSlot: make(chan struct{}, 1)}
}

// GetToken implements azcore.TokenCredential.
func (e *credentialPair) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	select {
	case e.probeSlot <- struct{}{}:
		defer func() { <-e.probeSlot }()
	case <-ctx.Done(): // the first credential returns a classified error
		return e.first.GetToken(ctx, options)
	}
	if e.working != nil {
		return e.working.GetToken(ctx, options)
	}
	token, err := e.first.GetToken(ctx, options)
	if err == nil {
		e.working = e.first
		return token, nil
	}
	if fault.KindOf(err) != fault.Unauthenticated {
		return token, err
	}
	token, secondErr := e.second.GetToken(ctx, options)
	if secondErr != nil {
		return token, err
	}
	e.working = e.second
	return token, nil
}

// fileCheckInterval is the interval at which the files of a credential are checked for changes.
const fileCheckInterval = 10 * time.Second

// watchedFiles reads the files of a credential and stores a hash of each.
type watchedFiles struct {
	readFile func(string) ([]byte, error)
	hashes   map[string][]byte
}

// read reads a file and stores its hash. The parsers of azure.json and of certificates limit the size.
func (w *watchedFiles) read(path string) ([]byte, error) {
	content, err := w.readFile(path)
	sum := sha256.Sum256(content)
	w.hashes[path] = sum[:]
	return content, err
}

// hasChanged reports whether the content of a file changed. An unreadable file counts as unchanged, so the last valid
// credential stays.
func (w *watchedFiles) hasChanged() bool {
	for path, sum := range w.hashes {
		content, err := w.readFile(path)
		if now := sha256.Sum256(content); err == nil && !bytes.Equal(now[:], sum) {
			return true
		}
	}
	return false
}

// reloadingCredential recreates its credential when one of its files changes.
type reloadingCredential struct {
	config Config
	build  func(*watchedFiles) (azcore.TokenCredential, error)

	mu        sync.Mutex
	current   azcore.TokenCredential
	files     *watchedFiles
	checkedAt time.Time
	// reloadErr is the error of the current files; nil if they are valid.
	reloadErr error
}

func (c Config) newReloadingCredential(build func(*watchedFiles) (azcore.TokenCredential,
	error)) (azcore.TokenCredential, error) {
	r := &reloadingCredential{config: c, build: build}
	return r, r.rebuildCredential()
}

// rebuildCredential creates the credential from the current files; the caller holds mu or is the constructor.
func (r *reloadingCredential) rebuildCredential() error {
	files := &watchedFiles{readFile: r.config.ReadFile, hashes: map[string][]byte{}}
	credential, err := r.build(files)
	if err != nil {
		return err
	}
	r.current, r.files, r.checkedAt = credential, files, r.config.Clock()
	return nil
}

// GetToken implements azcore.TokenCredential.
func (r *reloadingCredential) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken,
	error) {
	credential, err := r.currentCredential()
	if err != nil {
		return azcore.AccessToken{}, nonRetriableError{err}
	}
	return credential.GetToken(ctx, options)
}

// currentCredential returns the credential of the current files. Invalid new content is an error, as it is at startup:
// the old credential may be revoked, and its continued use would hide the mistake until it expires.
func (r *reloadingCredential) currentCredential() (azcore.TokenCredential, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.config.Clock().Sub(r.checkedAt) >= fileCheckInterval {
		r.checkedAt = r.config.Clock()
		r.reloadErr = nil
		if r.files.hasChanged() {
			r.reloadErr = r.rebuildCredential()
		}
	}
	return r.current, r.reloadErr
}

// fileErrorReason returns the reason of a file error without the path, which the caller adds.
func fileErrorReason(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}
