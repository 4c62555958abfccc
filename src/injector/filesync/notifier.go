package filesync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
)

// firstNotifyWait is the wait before the second call of an on-change URL. It doubles each time.
const firstNotifyWait = time.Second

// pendingName is the name of a file in the volume that exists from before a change until the calls for it have ended. A
// sidecar that was killed in between calls the URL when it is started again.
const pendingName = ".on-change-pending"

// notifier calls the on-change URL of a pod. Its methods are not safe for concurrent use.
type notifier struct {
	url string
	// pending is the path of the file pendingName.
	pending       string
	httpClient    *http.Client
	log           *slog.Logger
	sleep         func(ctx context.Context, d time.Duration) error
	releaseMemory func()
	// cancel ends the calls for the last change, and ended is closed when they have ended.
	cancel context.CancelFunc
	ended  chan struct{}
}

func newNotifier(c Config) *notifier {
	ended := make(chan struct{})
	close(ended)
	return &notifier{url: c.Files.OnChange, pending: filepath.Join(c.Volume, pendingName), log: c.Log, sleep: c.Sleep,
		releaseMemory: c.ReleaseMemory, cancel: func() {}, ended: ended,
		httpClient: &http.Client{Timeout: limits.OnChangeTime,
			Transport: &http.Transport{DialContext: dialLoopback, DisableKeepAlives: true,
				MaxResponseHeaderBytes: limits.OnChangeAnswerBytes},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}
}

// dialLoopback connects to the pod itself, whatever the name of the host leads to elsewhere.
func dialLoopback(ctx context.Context, _, address string) (conn net.Conn, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addresses := loopbackAddresses(host)
	if len(addresses) == 0 {
		return nil, errors.New("the host is not the loopback interface")
	}
	var errs error
	for _, ip := range addresses {
		if conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(ip, port)); err == nil {
			return conn, nil
		}
		errs = errors.Join(errs, err)
	}
	return nil, errs
}

// isPending reports whether the calls for a change have not ended, in this process or an earlier one.
func (n *notifier) isPending() bool {
	_, err := os.Lstat(n.pending)
	return err == nil
}

// recordNextChange records that calls for the next change are needed. It ends those for an earlier one, and returns
// whether they have not succeeded.
func (n *notifier) recordNextChange() (wasPending bool, err error) {
	n.cancel()
	<-n.ended
	wasPending = n.isPending()
	if err := os.WriteFile(n.pending, nil, 0o600); err != nil {
		return false, volumeError(err)
	}
	return wasPending, nil
}

// removeRecord removes the record, because the calls have ended or nothing has changed. If that fails, there is one
// call too many.
func (n *notifier) removeRecord() { _ = os.Remove(n.pending) }

// startCalls calls the URL in the background, with retries. Calls for an earlier change must have ended.
func (n *notifier) startCalls(ctx context.Context) {
	ctx, n.cancel = context.WithCancel(ctx)
	n.ended = make(chan struct{})
	go func(ended chan struct{}) {
		defer close(ended)
		n.notify(ctx)
		if ctx.Err() == nil {
			n.removeRecord()
		}
	}(n.ended)
}

// notify calls the URL until it succeeds, the context ends or the tries are used up.
func (n *notifier) notify(ctx context.Context) {
	defer n.releaseMemory()
	wait := firstNotifyWait
	for try := 1; ; try++ {
		err := n.post(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		if try == limits.OnChangeTries {
			n.log.Warn("the on-change URL was not called successfully, so the program can still use the old files; "+
				"check that the program answers it with 2xx", logkey.Error, err.Error())
			return
		}
		if n.sleep(ctx, wait) != nil {
			return
		}
		wait *= 2
	}
}

// post calls the URL once. The error has nothing that the URL, the header or the body of the answer holds.
func (n *notifier) post(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url, nil)
	if err != nil {
		return errors.New("the URL is invalid")
	}
	response, err := n.httpClient.Do(request)
	if err != nil {
		return describeCallError(err)
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.CopyN(io.Discard, response.Body, limits.OnChangeAnswerBytes)
	if response.StatusCode < http.StatusOK || response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

// describeCallError keeps the system's reason of an error of net/http, whose text can quote the URL and the answer.
func describeCallError(err error) error {
	var errno syscall.Errno
	switch {
	case os.IsTimeout(err):
		return fmt.Errorf("no response within %s", limits.Duration(limits.OnChangeTime))
	case errors.As(err, &errno):
		return errno
	}
	return errors.New("no HTTP response")
}
