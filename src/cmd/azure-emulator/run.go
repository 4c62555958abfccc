package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/akv2k8s/akv2k8s/src/emulator"
)

type settings struct {
	azureListen, metadataListen, adminListen, seedFile, certFile, keyFile, signingKeyFile, tenant string
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	var s settings
	flags := flag.NewFlagSet("azure-emulator", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.azureListen, "tls-listen", ":8443", "listen address of vaults, registries and login hosts (TLS)")
	flags.StringVar(&s.metadataListen, "imds-listen", "",
		"listen address of the metadata service, for example 169.254.169.254:80; empty disables it")
	flags.StringVar(&s.adminListen, "admin-listen", ":8090", "listen address of the admin API, without authentication")
	flags.StringVar(&s.seedFile, "seed", "", "JSON file with the initial state")
	flags.StringVar(&s.certFile, "tls-cert", "", "certificate for all served names, PEM")
	flags.StringVar(&s.keyFile, "tls-key", "", "private key of the certificate, PEM")
	flags.StringVar(&s.signingKeyFile, "signing-key", "",
		"RSA key that signs tokens, PEM; if empty, a new key at each start")
	flags.StringVar(&s.tenant, "tenant", "11111111-1111-4111-8111-111111111111", "id of the tenant")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if err := serveEmulator(ctx, s); err != nil {
		fmt.Fprintln(stderr, "azure-emulator:", err)
		return 1
	}
	return 0
}

func serveEmulator(ctx context.Context, s settings) error {
	e, err := emulator.New(s.tenant, time.Now)
	if err != nil {
		return err
	}
	if s.signingKeyFile != "" {
		content, err := os.ReadFile(s.signingKeyFile)
		if err != nil {
			return fmt.Errorf("reading the signing key: %w", err)
		}
		if err := e.Directory.UseSigningKey(content); err != nil {
			return err
		}
	}
	if s.seedFile != "" {
		if err := applySeedFile(e, s.seedFile); err != nil {
			return err
		}
	}
	certificate, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
	if err != nil {
		return fmt.Errorf("loading the certificate: %w; set -tls-cert and -tls-key", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return listenAndServe(ctx, s.azureListen, e.AzureHandler(),
			&tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	})
	group.Go(func() error { return listenAndServe(ctx, s.adminListen, e.AdminHandler(), nil) })
	if s.metadataListen != "" {
		group.Go(func() error { return listenAndServe(ctx, s.metadataListen, e.MetadataHandler(), nil) })
	}
	return group.Wait()
}

func applySeedFile(e *emulator.Emulator, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the seed: %w", err)
	}
	var seed emulator.Seed
	if err := json.Unmarshal(content, &seed); err != nil {
		return fmt.Errorf("parsing the seed %s: %w", file, err)
	}
	return e.ApplySeed(seed)
}

// listenAndServe serves the handler on the address until ctx ends, with TLS if secure is set.
func listenAndServe(ctx context.Context, address string, handler http.Handler, secure *tls.Config) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, TLSConfig: secure, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if secure != nil {
		err = server.ServeTLS(listener, "", "")
	} else {
		err = server.Serve(listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
