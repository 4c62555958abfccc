package credential

import (
	"context"
	"net/http"
)

// roundTrip is a function that implements policy.Transporter.
type roundTrip func(*http.Request) (*http.Response, error)

// Do implements policy.Transporter.
func (r roundTrip) Do(request *http.Request) (*http.Response, error) { return r(request) }

// ReplyErrorCode returns the error code that the transport records for a response. Fuzz tests use it without the SDK.
func ReplyErrorCode(ctx context.Context, answer func(*http.Request) (*http.Response, error)) string {
	listening := &recordingTransport{next: roundTrip(answer)}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://login.microsoftonline.com/t/oauth2/v2.0/token", http.NoBody)
	if err != nil {
		return ""
	}
	if response, err := listening.Do(request); err == nil {
		_ = response.Body.Close()
	}
	c := newClassifyingCredential(nil, listening, "x")
	_ = c.classifyError(context.DeadlineExceeded)
	return listening.latestReply().errorCode
}

// NewCredentialPair gives tests access to the constructor.
var NewCredentialPair = newCredentialPair
