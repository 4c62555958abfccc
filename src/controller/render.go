package controller

import (
	"context"

	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

// renderOutputs decodes the objects into the outputs that the recipe describes, unless fetchObjects found that the
// outputs hold the data already. Decoded data is cached, and reused while the objects and the recipe are unchanged.
func (s *resourceSync) renderOutputs(ctx context.Context) error {
	if s.outputs != nil {
		return nil
	}
	objects := make([]keyvault.Object, 0, len(s.contents))
	for _, content := range s.contents {
		objects = append(objects, content.Object)
	}
	share, owner := s.DecodePool.ForNamespace(s.resource.Namespace), store.OwnerOf(s.resource)
	var outputs []store.Result
	for _, out := range s.recipe.Outputs {
		made, err := share.Do(ctx, share.CacheKey(out.Kind, s.recipe, objects...),
			func(ctx context.Context) (decodepool.Output, error) {
				values, err := decode.OutputData(ctx, s.recipe, out, s.contents)
				return decodepool.Output{Values: values}, err
			})
		if err != nil {
			return err
		}
		hash, err := s.Hasher.Hash(ctx, owner.UID, made.Values)
		if err != nil {
			return err
		}
		desired, err := output.NewDesired(owner, out, made.Values)
		if err != nil {
			return err
		}
		outputs = append(outputs, store.Result{Desired: desired, Hash: hash})
	}
	s.outputs = outputs
	return nil
}

// hashObjects computes the keyed hash of the objects of a resource that only pods use. The part before the hyphen
// depends only on the key, so that a new key is not taken for a new value. Only the hash is cached, no decoded value.
func (s *resourceSync) hashObjects(ctx context.Context) error {
	if !s.isForPodsOnly() || len(s.contents) == 0 {
		return nil
	}
	objects, alternative := make([]keyvault.Object, 0, len(s.contents)), false
	for _, content := range s.contents {
		objects = append(objects, content.Object)
		alternative = alternative || content.Object.Ref.Kind == decode.AlternativeKind(content.Item)
	}
	s.last.Watch.ReadsAlternative = alternative
	uid := s.resource.UID
	keyHash, err := s.Hasher.Hash(ctx, uid, nil)
	if err != nil {
		return err
	}
	share := s.DecodePool.ForNamespace(s.resource.Namespace)
	hashed, err := share.Do(ctx, share.CacheKey("fingerprint "+string(uid)+" "+keyHash, s.recipe, objects...),
		func(ctx context.Context) (decodepool.Output, error) {
			values, err := decode.Fingerprints(ctx, s.recipe, s.contents)
			if err != nil {
				return decodepool.Output{}, err
			}
			hash, err := s.Hasher.Hash(ctx, uid, values)
			return decodepool.Output{Values: map[string]keyvault.Value{"hash": keyvault.NewValue([]byte(hash))}}, err
		})
	if err == nil {
		s.valueHash = keyHash[:keyHashLength] + "-" + string(hashed.Values["hash"].Reveal())
	}
	return err
}

// keyHashLength is the length of the part of a value hash that stands for the key.
const keyHashLength = 8

// hasChangedValue reports whether the objects of a resource that only pods use are not those of the last read. If the
// key of the hashes is another one, only the version can tell.
func (s *resourceSync) hasChangedValue() bool {
	known := s.knownValueHash()
	if s.valueHash == "" || known == "" {
		return false
	}
	if known[:min(keyHashLength, len(known))] == s.valueHash[:keyHashLength] {
		return known != s.valueHash
	}
	was := s.resource.Status.VaultVersion
	return len(s.contents) == 1 && was != "" && was != s.contents[0].Object.Version
}

// knownValueHash returns the hash of the last read: by this process, or that of the status.
func (s *resourceSync) knownValueHash() string {
	if s.last.Synced && s.last.UID == s.resource.UID && s.last.Watch.ValueHash != "" {
		return s.last.Watch.ValueHash
	}
	return s.resource.Status.ValueHash
}
