package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"

	"github.com/akv2k8s/akv2k8s/src/v1compat/v1test"
)

// referenceSuffix is the suffix of values that are references.
const referenceSuffix = "@azurekeyvault"

// run gets the token, reads the secret, and executes the program with the secret in its environment.
func run(ctx context.Context, args, environ []string, stderr io.Writer) int {
	if err := execWithSecret(ctx, args, environ); err != nil {
		fmt.Fprintln(stderr, "failed to get credentials:", err)
	}
	return 1
}

func execWithSecret(ctx context.Context, args, environ []string) error {
	if len(args) == 0 {
		return errors.New("no command is given")
	}
	getenv := func(name string) string {
		for _, variable := range environ {
			if value, ok := strings.CutPrefix(variable, name+"="); ok {
				return value
			}
		}
		return ""
	}
	token, err := v1test.WrapperFromEnv(getenv).FetchToken(ctx)
	if err != nil {
		return err
	}
	value, err := readVaultSecret(ctx, token, getenv("TEST_SECRET_URL"), getenv("TEST_CA"))
	if err != nil {
		return err
	}
	for i, variable := range environ {
		if name, old, _ := strings.Cut(variable, "="); strings.HasSuffix(old, referenceSuffix) {
			environ[i] = name + "=" + value
		}
	}
	program, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return syscall.Exec(program, args, environ)
}

// readVaultSecret reads a secret from the vault with the token. 1.8 got the URL from the API server; here the test sets
// it.
func readVaultSecret(ctx context.Context, token, url, ca string) (string, error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"?api-version=7.4", nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}).Do(request)
	if err != nil {
		return "", fmt.Errorf("vault: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Value string `json:"value"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("vault: %d", response.StatusCode)
	}
	return answer.Value, nil
}
