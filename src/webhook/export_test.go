package webhook

import (
	"context"
	"net/http"
)

// Deadline gives a review the time that the API server waits.
func Deadline(ctx context.Context, r *http.Request) (context.Context, context.CancelFunc) {
	return deadline(ctx, r)
}
