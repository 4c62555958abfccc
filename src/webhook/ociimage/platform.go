package ociimage

import (
	"encoding/json"
	"slices"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	specs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// imageConfig is the part of an image's configuration that is read.
type imageConfig struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	Config       struct {
		Env, Entrypoint, Cmd []string
	} `json:"config"`
}

func (c imageConfig) imagePlatform() specs.Platform {
	return specs.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
}

// platformSearch finds the images of an index that containerd would run on the nodes where the pod can be scheduled.
type platformSearch struct {
	os, architecture string
	// commandsByDigest are the commands of the found images. The rest of their configurations is not kept.
	commandsByDigest map[v1.Hash]Command
	// manifestsRead counts the requested manifests.
	manifestsRead int
}

func newPlatformSearch(q Query) *platformSearch {
	return &platformSearch{os: q.OS, architecture: q.Architecture, commandsByDigest: map[v1.Hash]Command{}}
}

// commonCommand returns the command that all found images share, or an error if their commands differ.
func (s *platformSearch) commonCommand() (Command, error) {
	if len(s.commandsByDigest) == 0 {
		platform := s.os + "/" + s.architecture
		if s.architecture == "" {
			platform = s.os
		}
		return Command{}, &fault.Error{Kind: fault.NotFound,
			Operation: "the image has no manifest for the pod's platform (" + platform + ")",
			Next:      "correct the pod's nodeSelector or the image"}
	}
	var command Command
	first := true
	for _, next := range s.commandsByDigest {
		if !first && !next.equal(command) {
			return Command{}, fault.New(fault.Invalid,
				"the image has different commands or references to Key Vault on different "+
					"platforms; select one by kubernetes.io/arch in the pod's nodeSelector")
		}
		command, first = next, false
	}
	return command, nil
}

// searchIndex searches an index and the indexes in it.
func (s *platformSearch) searchIndex(index v1.ImageIndex, depth int) error {
	if depth > limits.ImageIndexDepth {
		return fault.New(fault.Invalid, "the image has more than %d levels of indexes", limits.ImageIndexDepth)
	}
	content, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, entry := range s.candidateEntries(content.Manifests) {
		if err := s.searchEntry(index, entry, depth); err != nil {
			return err
		}
	}
	return nil
}

func (s *platformSearch) searchEntry(index v1.ImageIndex, entry v1.Descriptor, depth int) error {
	if _, known := s.commandsByDigest[entry.Digest]; known {
		return nil
	}
	if s.manifestsRead++; s.manifestsRead > limits.ImageManifests {
		return fault.New(fault.Invalid,
			"the image has more than %d manifests for the pod; select an architecture by kubernetes.io/arch in "+
				"the pod's nodeSelector", limits.ImageManifests)
	}
	if entry.MediaType.IsIndex() {
		nested, err := index.ImageIndex(entry.Digest)
		if err != nil {
			return err
		}
		return s.searchIndex(nested, depth+1)
	}
	image, err := index.Image(entry.Digest)
	if err != nil {
		return err
	}
	read, err := readConfig(image)
	if err != nil {
		return err
	}
	if entry.Platform == nil && !s.canRunOnPodNodes(read.imagePlatform()) {
		return nil
	}
	s.commandsByDigest[entry.Digest], err = commandFromConfig(read)
	return err
}

// candidateEntries returns the entries that containerd can choose. It takes the best match for a node's platform, and
// an entry without a platform only if no entry matches; then the image's configuration has the platform.
func (s *platformSearch) candidateEntries(entries []v1.Descriptor) []v1.Descriptor {
	var known, unknown []v1.Descriptor
	for _, entry := range entries {
		switch {
		case !entry.MediaType.IsImage() && !entry.MediaType.IsIndex():
		case entry.Platform == nil:
			unknown = append(unknown, entry)
		case s.isPodOS(entryPlatform(entry)):
			known = append(known, entry)
		}
	}
	var chosen []v1.Descriptor
	for _, node := range s.nodePlatforms(known) {
		if best := bestEntryFor(node, known); best != nil {
			chosen = append(chosen, *best)
		}
	}
	if s.architecture == "" || len(chosen) == 0 {
		chosen = append(chosen, unknown...)
	}
	return chosen
}

// nodePlatforms returns the platforms of the nodes where the pod can be scheduled. Without an architecture, these are
// all platforms of the index.
func (s *platformSearch) nodePlatforms(entries []v1.Descriptor) []specs.Platform {
	if s.architecture != "" {
		node := platforms.Normalize(specs.Platform{OS: s.os, Architecture: s.architecture})
		if node.Architecture != "arm" {
			return []specs.Platform{node}
		}
		var all []specs.Platform // the node label does not contain the variant
		for _, variant := range []string{"v8", "v7", "v6", "v5"} {
			all = append(all, specs.Platform{OS: s.os, Architecture: "arm", Variant: variant})
		}
		return all
	}
	var all []specs.Platform
	for _, entry := range entries {
		all = append(all, entryPlatform(entry))
	}
	return all
}

// bestEntryFor returns the entry that containerd chooses on a node, or nil.
func bestEntryFor(node specs.Platform, entries []v1.Descriptor) *v1.Descriptor {
	matcher := platforms.Only(node)
	var best *v1.Descriptor
	for n := range entries {
		one := entryPlatform(entries[n])
		if matcher.Match(one) && (best == nil || matcher.Less(one, entryPlatform(*best))) {
			best = &entries[n]
		}
	}
	return best
}

func entryPlatform(entry v1.Descriptor) specs.Platform {
	return platforms.Normalize(specs.Platform{OS: entry.Platform.OS, Architecture: entry.Platform.Architecture,
		Variant: entry.Platform.Variant})
}

func (s *platformSearch) isPodOS(platform specs.Platform) bool {
	return platforms.Normalize(platform).OS == s.os
}

// canRunOnPodNodes reports whether an image without a platform in the index runs on a node where the pod can be
// scheduled.
func (s *platformSearch) canRunOnPodNodes(platform specs.Platform) bool {
	if platform.OS == "" || platform.Architecture == "" || !s.isPodOS(platform) {
		return false
	}
	return s.architecture == "" || slices.ContainsFunc(s.nodePlatforms(nil),
		func(node specs.Platform) bool { return platforms.Only(node).Match(platform) })
}

// readConfig reads an image's configuration. It checks the size in the manifest before it requests the configuration.
func readConfig(image v1.Image) (imageConfig, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return imageConfig{}, err
	}
	if manifest.Config.Size > limits.ImageConfigBytes {
		return imageConfig{}, errAnswerTooLong
	}
	raw, err := image.RawConfigFile()
	if err != nil {
		return imageConfig{}, err
	}
	if !isWithinJSONLimits(raw) {
		return imageConfig{}, errAnswerTooComplex
	}
	var read imageConfig
	if json.Unmarshal(raw, &read) != nil {
		return imageConfig{}, errMalformedAnswer
	}
	return read, nil
}
