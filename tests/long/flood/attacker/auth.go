package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ask sends references to the auth service with the pod's own token.
func (a *attacker) ask(ctx context.Context, references map[string]string) (*http.Response, error) {
	body, err := json.Marshal(map[string]any{"references": references})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+a.address("auth-service")+"/v1/resolve", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	request.Header.Set("Content-Type", "application/json")
	return a.client.Do(request)
}

// withoutToken sends a token that nobody signed, so that each request costs the API server a review.
func withoutToken(ctx context.Context, a *attacker) string {
	forged := &attacker{host: a.host, controller: a.controller, client: a.client, token: "a." + strings.Repeat("b", 8000) + ".c"}
	return outcome(forged.ask(ctx, map[string]string{"A": "db@azurekeyvault"})) //nolint:bodyclose // outcome closes it
}

// manyNames asks for one reference, which the pod may have, under 31,000 names.
func manyNames(ctx context.Context, a *attacker) string {
	references := make(map[string]string, 31_000)
	for i := range 31_000 {
		references[fmt.Sprintf("NAME_%d", i)] = "pfx@azurekeyvault?tls.key"
	}
	return outcome(a.ask(ctx, references)) //nolint:bodyclose // outcome closes it
}

// manyResources asks for 25,000 resources that do not exist.
func manyResources(ctx context.Context, a *attacker) string {
	references := make(map[string]string, 25_000)
	for i := range 25_000 {
		references[fmt.Sprintf("N%d", i)] = fmt.Sprintf("r%d@azurekeyvault", i)
	}
	return outcome(a.ask(ctx, references)) //nolint:bodyclose // outcome closes it
}

// unread asks for what it may have, and leaves the answer unread for a while.
func unread(ctx context.Context, a *attacker) string {
	references := make(map[string]string, 200)
	for i := range 200 {
		references[fmt.Sprintf("BIG_%d", i)] = "big@azurekeyvault"
	}
	response, err := a.ask(ctx, references)
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
