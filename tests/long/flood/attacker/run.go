package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// attack is one way to cost the installation much. It is called again and again, by several at once, until the time is
// over, and returns what came of one try, in one word or status.
type attack func(ctx context.Context, a *attacker) string

func attacks() map[string]attack {
	return map[string]attack{
		"review-containers": reviewOf(manyContainers), "review-variables": reviewOf(manyVariables),
		"review-references": reviewOf(manyReferences),
		"review-sources":    reviewOf(manySources), "review-depth": reviewOf(deepNesting),
		"review-drip": drip("webhook", "/pods"),
		"auth-drip":   drip("auth-service", "/v1/resolve"), "auth-no-token": withoutToken,
		// One reference under 20,000 names, a thousand AzureKeyVaultSecrets at once, and as many as one request may
		// have.
		"auth-names":      asking(repeated(20_000, "NAME_%d", "pfx@azurekeyvault?tls.key")),
		"auth-references": asking(repeated(1000, "R%d", "rN@azurekeyvault")),
		"auth-resources":  asking(repeated(500, "R%d", "rN@azurekeyvault")),
		"auth-unread":     unread(), "probes": probes, "connections": connections, "registry": tarpit,
		"registry-large": largeImages, "review-existence": askForSecrets,
	}
}

// attacker knows where the installation is.
type attacker struct {
	// host is the Service of the env-injector, controller the one of the controller.
	host, controller string
	client           *http.Client
	token            string

	mu       sync.Mutex
	outcomes map[string]int
}

// address is that of a port by its name.
func (a *attacker) address(port string) string {
	switch port {
	case "webhook":
		return net.JoinHostPort(a.host, "443")
	case "auth-service":
		return net.JoinHostPort(a.host, "9443")
	case "http":
		return net.JoinHostPort(a.host, "80")
	}
	return net.JoinHostPort(a.controller, "9000")
}

func (a *attacker) count(outcome string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.outcomes[outcome]++
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("attacker", flag.ContinueOnError)
	flags.SetOutput(stderr)
	host := flags.String("host", "akv2k8s-envinjector.akv2k8s.svc", "Service of the env-injector")
	controller := flags.String("controller", "akv2k8s-controller.akv2k8s.svc", "Service of the controller")
	lasting := flags.Duration("for", time.Minute, "how long to attack")
	workers := flags.Int("workers", 4, "how many attack at once")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	do, known := attacks()[flags.Arg(0)]
	if !known {
		fmt.Fprintln(stderr, "usage: attacker [flags] ATTACK, one of",
			strings.Join(slices.Sorted(maps.Keys(attacks())), ", "))
		return 2
	}
	token, _ := os.ReadFile("/var/run/secrets/attacker/token") // only some attacks have one
	a := &attacker{host: *host, controller: *controller, token: strings.TrimSpace(string(token)),
		outcomes: map[string]int{},
		client: &http.Client{Timeout: 30 * time.Second,
			Transport: &http.Transport{ForceAttemptHTTP2: true, MaxConnsPerHost: 0,
				// The attack does not depend on which replica answers, so its certificate is not checked.
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}} //nolint:gosec // see above
	ctx, cancel := context.WithTimeout(ctx, *lasting)
	defer cancel()
	var group sync.WaitGroup
	for range *workers {
		group.Go(func() {
			for ctx.Err() == nil {
				a.count(do(ctx, a))
			}
		})
	}
	group.Wait()
	for _, outcome := range slices.Sorted(maps.Keys(a.outcomes)) {
		fmt.Fprintf(stdout, "%s %d\n", strings.ReplaceAll(outcome, " ", "_"), a.outcomes[outcome])
	}
	return 0
}

// outcome is the status, or "failed" for a request without an answer.
func outcome(response *http.Response, err error) string {
	if err != nil {
		return "failed"
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return fmt.Sprint(response.StatusCode)
}
