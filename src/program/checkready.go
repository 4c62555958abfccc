package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	readyAnswerBytes = 500             // of an answer that says why a component is not ready
	readyAnswerTime  = 5 * time.Second // for one answer
	readyInterval    = time.Second     // between two requests
)

// newCheckReadyCommand returns the subcommand that helm test runs. It requests each --url until it answers 200 or
// --wait is over, and prints a line for each component that is ready. The error joins those of all components that are
// not ready.
func newCheckReadyCommand() *cobra.Command {
	var addresses []string
	var wait time.Duration
	cmd := &cobra.Command{Use: "check-ready", Short: "wait until components are ready",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(addresses) == 0 {
				return usageErrorf("check-ready needs at least one --url")
			}
			return checkReady(cmd.Context(), addresses, wait, cmd.OutOrStdout())
		}}
	cmd.Flags().DurationVar(&wait, "wait", time.Minute, "how long to wait for all components to be ready")
	cmd.Flags().Func("url", "`URL` of a component's /readyz; can be repeated", func(address string) error {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" || u.Host == "" {
			return errors.New("write it as http://HOST:PORT/readyz")
		}
		addresses = append(addresses, address)
		return nil
	})
	return cmd
}

// checkReady waits until all addresses answer 200, at most for the given time.
func checkReady(ctx context.Context, addresses []string, wait time.Duration, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	// The components are in the cluster, so the client uses no proxy.
	client := &http.Client{Timeout: readyAnswerTime, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var failures []error
	for _, address := range addresses {
		if err := awaitReady(ctx, client, address); err != nil {
			failures = append(failures, err)
			continue
		}
		fmt.Fprintln(stdout, "ready:", address)
	}
	return errors.Join(failures...)
}

// awaitReady requests the address until the answer is 200 or the context ends. Its error is that of the last answer.
func awaitReady(ctx context.Context, client *http.Client, address string) error {
	for {
		err := checkReadyOnce(ctx, client, address)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %s: %w; see the log of that component, and kubectl describe of its pods",
				address, err)
		case <-time.After(readyInterval):
		}
	}
}

// checkReadyOnce requests the address once, and returns an error unless the answer is 200.
func checkReadyOnce(ctx context.Context, client *http.Client, address string) error {
	// The wait can be over before later addresses are requested. Each is requested at least once.
	request, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		var failed *url.Error // repeats the address
		if errors.As(err, &failed) {
			return failed.Err
		}
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, readyAnswerBytes))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answered %d: %s", answer.StatusCode, strings.TrimSpace(string(text)))
	}
	return nil
}
