package v1test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Wrapper is the part of the 1.8 wrapper that calls the auth service.
type Wrapper struct {
	// Folder is the path of the mounted Secret.
	Folder string
	// URLs of the token step and of the validation step.
	ServiceURL, ValidationURL string
	// Namespace, Pod and Secret name the pod and its Secret.
	Namespace, Pod, Secret string
	// InitialWait is the first interval at which it polls for a CA that the auth service wrote. It doubles each time.
	InitialWait time.Duration
	// Transport connects to the auth service in tests without DNS. It is nil in a cluster.
	Transport *http.Transport
}

// WrapperFromEnv reads the variables that the webhook of 1.8 set.
func WrapperFromEnv(getenv func(string) string) Wrapper {
	return Wrapper{Folder: getenv("ENV_INJECTOR_CLIENT_CERT_DIR"), ServiceURL: getenv("ENV_INJECTOR_AUTH_SERVICE"),
		ValidationURL: getenv("ENV_INJECTOR_AUTH_SERVICE_VALIDATION"),
		Namespace:     getenv("ENV_INJECTOR_POD_NAMESPACE"), Pod: getenv("ENV_INJECTOR_POD_NAME"),
		Secret: getenv("ENV_INJECTOR_AUTH_SERVICE_SECRET"), InitialWait: 5 * time.Second}
}

// maxPolls is the maximum number of polls for the CA.
const maxPolls = 20

// FetchToken performs both steps. Errors begin with the name of the step, followed by the status of the response.
func (w Wrapper) FetchToken(ctx context.Context) (string, error) {
	before, err := os.ReadFile(filepath.Join(w.Folder, FileCA))
	if err != nil {
		return "", err
	}
	status, err := w.Validate(ctx)
	if err != nil {
		return "", fmt.Errorf("validation: %w", err)
	}
	switch status {
	case http.StatusOK:
	case http.StatusCreated:
		if err := w.waitForNewCA(ctx, before); err != nil {
			return "", fmt.Errorf("validation: %w", err)
		}
	default:
		return "", fmt.Errorf("validation: %d", status)
	}
	return w.RequestToken(ctx)
}

// Validate performs the first step and returns the status of the response.
func (w Wrapper) Validate(ctx context.Context) (int, error) {
	response, err := w.get(ctx, w.ValidationURL, "?secret="+w.Secret, nil)
	if err != nil {
		return 0, err
	}
	_ = response.Body.Close()
	return response.StatusCode, nil
}

// RequestToken performs the second step and returns the token.
func (w Wrapper) RequestToken(ctx context.Context) (string, error) {
	ca, err := os.ReadFile(filepath.Join(w.Folder, FileCA))
	if err != nil {
		return "", err
	}
	mine, err := tls.LoadX509KeyPair(filepath.Join(w.Folder, FileCert), filepath.Join(w.Folder, FileKey))
	if err != nil {
		return "", err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	response, err := w.get(ctx, w.ServiceURL, "", &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{mine}})
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("token: %d", response.StatusCode)
	}
	var answer struct {
		Token string `json:"oauth_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Token == "" {
		return "", errors.New("token: the response has no token")
	}
	return answer.Token, nil
}

func (w Wrapper) get(ctx context.Context, service, query string, secure *tls.Config) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		fmt.Sprintf("%s/auth/%s/%s%s", service, w.Namespace, w.Pod, query), nil)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{}
	if w.Transport != nil {
		transport = w.Transport.Clone()
	}
	transport.TLSClientConfig, transport.DisableKeepAlives = secure, true
	return (&http.Client{Timeout: 10 * time.Second, Transport: transport}).Do(request)
}

// waitForNewCA waits until the kubelet has updated the CA in the pod.
func (w Wrapper) waitForNewCA(ctx context.Context, before []byte) error {
	wait := w.InitialWait
	for range maxPolls {
		if now, err := os.ReadFile(filepath.Join(w.Folder, FileCA)); err == nil && !bytes.Equal(now, before) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait *= 2
	}
	return errors.New("the CA was not updated")
}
