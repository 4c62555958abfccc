package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// provenanceText is what is signed for helm verify: the chart's metadata and the checksum of its archive. The release's
// workflow makes the archive's .prov of it, by the key of charts.
const provenanceText = "chart-provenance.txt"

// writeProvenance describes the chart's archive for a signature.
func (p packer) writeProvenance(context.Context) error {
	archive, err := p.chartArchive()
	if err != nil {
		return err
	}
	content, err := os.ReadFile(archive)
	if err != nil {
		return err
	}
	metadata, err := chartMetadata(archive)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s\n...\nfiles:\n  %s: sha256:%x\n", metadata, filepath.Base(archive), sha256.Sum256(content))
	return os.WriteFile(filepath.Join(p.dist, provenanceText), []byte(text), 0o644)
}

// chartArchive is the one archive of the chart in dist.
func (p packer) chartArchive() (string, error) {
	archives, err := filepath.Glob(filepath.Join(p.dist, "akv2k8s-*.tgz"))
	if err == nil && len(archives) != 1 {
		err = fmt.Errorf("dist has %d archives of the chart, not one; remove dist and run this again", len(archives))
	}
	if err != nil {
		return "", err
	}
	return archives[0], nil
}

// chartMetadata is the Chart.yaml in an archive, as helm package wrote it.
func chartMetadata(archive string) (text []byte, err error) {
	file, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", archive, err)
	}
	for entries := tar.NewReader(unzipped); ; {
		entry, err := entries.Next()
		if err != nil {
			return nil, fmt.Errorf("looking for Chart.yaml in %s: %w", archive, err)
		}
		if entry.Name != "akv2k8s/Chart.yaml" {
			continue
		}
		content, err := io.ReadAll(entries)
		if err != nil {
			return nil, err
		}
		var metadata map[string]any // comments are no part of what is signed
		if err := yaml.Unmarshal(content, &metadata); err != nil {
			return nil, err
		}
		return yaml.Marshal(metadata)
	}
}

// checkProvenance signs as the release does, by a key that nobody keeps, and lets both generations of Helm verify it.
func (p packer) checkProvenance(ctx context.Context) error {
	if err := p.shop.ReleasePackages(ctx); err != nil {
		return err
	}
	archive, err := p.chartArchive()
	if err != nil {
		return err
	}
	// gpg's agent wants a short path for its socket.
	folder, err := os.MkdirTemp("", "gpg-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	gpg := func(args ...string) error {
		all := append([]string{"--homedir", folder, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase",
			""}, args...)
		return command(ctx, p.dist, p.out, "gpg", all...)
	}
	defer func() { _ = exec.CommandContext(ctx, "gpgconf", "--homedir", folder, "--kill", "gpg-agent").Run() }()
	copied, keyring := filepath.Join(folder, filepath.Base(archive)), filepath.Join(folder, "keyring.gpg")
	if err := errors.Join(
		gpg("--quick-generate-key", "dry run <dry-run@example.com>", "rsa3072", "sign", "never"),
		gpg("--clearsign", "--output", copied+".prov", provenanceText),
		gpg("--export", "--output", keyring),
		command(ctx, p.dist, p.out, "cp", archive, copied),
	); err != nil {
		return err
	}
	for _, name := range []string{"helm4", "helm"} {
		helm, err := p.shop.Tool(ctx, name)
		if err != nil {
			return err
		}
		if err := command(ctx, p.dist, p.out, helm, "verify", copied, "--keyring", keyring); err != nil {
			return err
		}
	}
	return nil
}
