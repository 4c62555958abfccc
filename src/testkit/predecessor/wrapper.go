package predecessor

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

// Wrapper is the part of the predecessor's wrapper that asks the auth service.
type Wrapper struct {
	// Folder has the files of the pod's Secret.
	Folder string
	// Service and Validation are URLs of the two steps.
	Service, Validation string
	// Namespace and Pod are who asks, Secret is the pod's.
	Namespace, Pod, Secret string
	// Wait is how long it waits first for a CA that was written, and then twice as long each time.
	Wait time.Duration
	// Dialer leads the name of the auth service to it where there is no DNS for it; nil outside of tests without a
	// cluster.
	Dialer *http.Transport
}

// FromEnv reads the variables that the webhook of the predecessor set.
func FromEnv(getenv func(string) string) Wrapper {
	return Wrapper{Folder: getenv("ENV_INJECTOR_CLIENT_CERT_DIR"), Service: getenv("ENV_INJECTOR_AUTH_SERVICE"),
		Validation: getenv("ENV_INJECTOR_AUTH_SERVICE_VALIDATION"),
		Namespace:  getenv("ENV_INJECTOR_POD_NAMESPACE"), Pod: getenv("ENV_INJECTOR_POD_NAME"),
		Secret: getenv("ENV_INJECTOR_AUTH_SERVICE_SECRET"), Wait: 5 * time.Second}
}

// polls is how often the CA is looked for after it was written.
const polls = 20

// Token does both steps. Errors begin with the step, and with the status that was answered.
func (w Wrapper) Token(ctx context.Context) (string, error) {
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
		if err := w.await(ctx, before); err != nil {
			return "", fmt.Errorf("validation: %w", err)
		}
	default:
		return "", fmt.Errorf("validation: %d", status)
	}
	return w.Ask(ctx)
}

// Validate does the first step, and gives its status.
func (w Wrapper) Validate(ctx context.Context) (int, error) {
	response, err := w.get(ctx, w.Validation, "?secret="+w.Secret, nil)
	if err != nil {
		return 0, err
	}
	_ = response.Body.Close()
	return response.StatusCode, nil
}

// Ask does the second step.
func (w Wrapper) Ask(ctx context.Context) (string, error) {
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
	response, err := w.get(ctx, w.Service, "", &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{mine}})
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
		return "", errors.New("token: the answer holds none")
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
	if w.Dialer != nil {
		transport = w.Dialer.Clone()
	}
	transport.TLSClientConfig, transport.DisableKeepAlives = secure, true
	return (&http.Client{Timeout: 10 * time.Second, Transport: transport}).Do(request)
}

// await waits until the kubelet brought another CA into the pod.
func (w Wrapper) await(ctx context.Context, before []byte) error {
	wait := w.Wait
	for range polls {
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
	return errors.New("the CA did not come")
}
