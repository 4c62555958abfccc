package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"
)

// Server is the API server itself.
type Server interface {
	// Version returns the version of the API server, and the time of its answer by its own clock; zero if the answer
	// has no time.
	Version(ctx context.Context) (*version.Info, time.Time, error)
}

// APIServer requests the version over HTTP. It implements Server.
type APIServer struct {
	client *http.Client
	url    string
}

// NewAPIServer returns the server of a configuration.
func NewAPIServer(config *rest.Config) (*APIServer, error) {
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	return &APIServer{httpClient, strings.TrimSuffix(base.String(), "/") + "/version"}, nil
}

// maxVersionBytes limits the answer.
const maxVersionBytes = 64 << 10

// Version implements Server.
func (a *APIServer) Version(ctx context.Context) (*version.Info, time.Time, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url, http.NoBody)
	if err != nil {
		return nil, time.Time{}, err
	}
	answer, err := a.client.Do(request)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxVersionBytes))
	if err != nil {
		return nil, time.Time{}, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, time.Time{}, fmt.Errorf("the API server answered %d to the request of its version",
			answer.StatusCode)
	}
	var info version.Info
	if err := json.Unmarshal(content, &info); err != nil || info.GitVersion == "" {
		return nil, time.Time{}, fmt.Errorf("%s did not answer with a version of Kubernetes", a.url)
	}
	at, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		at = time.Time{}
	}
	return &info, at, nil
}
