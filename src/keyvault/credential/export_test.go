package credential

import (
	"context"
	"net/http"
)

// roundTrip is a function that implements policy.Transporter.
type roundTrip func(*http.Request) (*http.Response, error)

// Do implements policy.Transporter.
func (r roundTrip) Do(request *http.Request) (*http.Response, error) { return r(request) }

// Hear returns the error code that the transport records for a response. Fuzz tests use it without the SDK.
func Hear(ctx context.Context, answer func(*http.Request) (*http.Response, error)) string {
	listening := &heard{next: roundTrip(answer)}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://login.microsoftonline.com/t/oauth2/v2.0/token", http.NoBody)
	if err != nil {
		return ""
	}
	if response, err := listening.Do(request); err == nil {
		_ = response.Body.Close()
	}
	c := newClassified(nil, listening, "x")
	_ = c.classify(context.DeadlineExceeded)
	return listening.latest().code
}

// NewEither gives tests access to the constructor.
var NewEither = newEither
