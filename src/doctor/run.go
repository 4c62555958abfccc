package doctor

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
)

// Check is one check. It returns findings that are worth a line each; the runner adds category and name.
type Check struct {
	// Category is the heading in the report. Name says what is right if the check passes, in a few words.
	Category, Name string
	// Needs are the rights that the check can't do without.
	Needs []Right
	// Run returns the findings. None means that all is well.
	Run func(ctx context.Context) []Finding
}

// Options limit a run.
type Options struct {
	// Timeout limits all checks together, and CheckTimeout each of them.
	Timeout, CheckTimeout time.Duration
	// Parallel is the number of checks that run at the same time.
	Parallel int
	// MissingRights returns those rights that the user does not have; nil means that nothing is missing.
	MissingRights func(ctx context.Context, rights []Right) ([]Right, error)
}

// Run runs the checks and returns their findings in the order of the checks. A check that does not end in time becomes
// a warning.
func Run(ctx context.Context, checks []Check, o Options) []Finding {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	results := make([][]Finding, len(checks))
	var group errgroup.Group
	group.SetLimit(max(o.Parallel, 1))
	for i, check := range checks {
		group.Go(func() error {
			results[i] = check.runWithin(ctx, o)
			return nil
		})
	}
	_ = group.Wait() // checks return findings, not errors
	var all []Finding
	for _, findings := range results {
		all = append(all, findings...)
	}
	replaceEffects(all)
	return all
}

// runWithin runs one check. It does not wait for a check that ignores its context.
func (c Check) runWithin(ctx context.Context, o Options) []Finding {
	ctx, cancel := context.WithTimeout(ctx, o.CheckTimeout)
	defer cancel()
	done := make(chan []Finding, 1)
	go func() { done <- c.runWithRights(ctx, o) }()
	var found []Finding
	select {
	case found = <-done:
	case <-ctx.Done():
		found = []Finding{unfinished(ctx.Err())}
	}
	if len(found) == 0 {
		found = Passed(c.Name)
	}
	for i := range found {
		found[i].Category, found[i].Check = c.Category, c.Name
	}
	return found
}

// runWithRights runs the check if the user has the rights for it.
func (c Check) runWithRights(ctx context.Context, o Options) []Finding {
	if o.MissingRights != nil && len(c.Needs) > 0 {
		missing, err := o.MissingRights(ctx, c.Needs)
		if err != nil {
			return []Finding{FromError("", err)}
		}
		if len(missing) > 0 {
			return []Finding{MissingRight(missing...)}
		}
	}
	found := c.Run(ctx)
	if ctx.Err() != nil { // what it found can be the effect of its end
		return []Finding{unfinished(ctx.Err())}
	}
	return found
}

// unfinished is the finding of a check that did not end.
func unfinished(cause error) Finding {
	if errors.Is(cause, context.Canceled) {
		return Finding{Severity: Warning, What: "the check was interrupted", Try: "run the command again"}
	}
	return Finding{Severity: Warning, What: "the check did not end in time",
		Why: "the API server is slow, or the cluster is large", Try: "allow more time with --timeout, such as 60s"}
}
