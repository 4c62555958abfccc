package webhook

import (
	"context"
	"net/http"
)

// Deadline gives tests access to the deadline of a review.
func Deadline(ctx context.Context, r *http.Request) (context.Context, context.CancelFunc) {
	return withReviewDeadline(ctx, r)
}
