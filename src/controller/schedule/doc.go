// Package schedule computes when a resource is refreshed or retried. Each resource has its own fixed time within the
// refresh interval, so refreshes are spread over the interval. The delay grows with repeated failures.
//
// Floor 1, pure. Refreshing and retrying belong in controller.
package schedule
