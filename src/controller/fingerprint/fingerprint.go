package fingerprint

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// keyField is the data key of the Secret that holds the key; keyBytes its length.
const (
	keyField = "key"
	keyBytes = 32
)

// Key is the installation's key for the hashes in statuses. Without a key a hash of a short secret could be guessed by
// anybody who may read statuses. The chart renders its Secret empty; the leader, who alone hashes, fills
// it.
type Key struct {
	// Live reads and Writer writes the Secret.
	Live   client.Reader
	Writer client.Writer
	// Secret that holds the key.
	Secret types.NamespacedName
	// Random is the source of a new key.
	Random io.Reader

	mu  sync.Mutex
	key []byte
}

// load reads the key, or makes one. The caller holds mu.
func (k *Key) load(ctx context.Context) error {
	var secret corev1.Secret
	if err := k.Live.Get(ctx, k.Secret, &secret); err != nil {
		return fmt.Errorf("reading Secret %s, which the chart renders for the hashes in statuses; run helm upgrade: %w", k.Secret, err)
	}
	key := secret.Data[keyField]
	if len(key) != keyBytes {
		key = make([]byte, keyBytes)
		if _, err := io.ReadFull(k.Random, key); err != nil {
			return fmt.Errorf("making the key for the hashes in statuses: %w", err)
		}
		// Update, not patch: it carries the resourceVersion, so two leaders can't overwrite each other's key.
		secret.Data = map[string][]byte{keyField: key}
		if err := k.Writer.Update(ctx, &secret); err != nil {
			return fmt.Errorf("writing Secret %s: %w", k.Secret, err)
		}
	}
	k.key = key
	return nil
}

// Hash is the HMAC-SHA-256 of the data in key order, hexadecimal; each part is preceded by its length, so that no two
// different data have one text. The first call loads the key.
func (k *Key) Hash(ctx context.Context, data map[string]keyvault.Value) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key == nil {
		if err := k.load(ctx); err != nil {
			return "", err
		}
	}
	mac := hmac.New(sha256.New, k.key)
	part := func(b []byte) {
		_, _ = mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		_, _ = mac.Write(b)
	}
	for _, name := range slices.Sorted(maps.Keys(data)) {
		part([]byte(name))
		part(data[name].Reveal())
	}
	return hex.EncodeToString(mac.Sum(nil)), nil
}
