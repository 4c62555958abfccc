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
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/akv2k8s/akv2k8s/src/controller/refusal"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// keyField is the data key of the Secret that holds the key; keyBytes its length.
const (
	keyField = "key"
	keyBytes = 32
)

// Key is the installation's key for the hashes in statuses. Without a key a hash of a short secret could be guessed by
// anybody who may read statuses. The chart renders its Secret empty; the leader, who alone hashes, fills it. If the
// Secret is gone and can't be created, hashes are made with a key of this process: they serve to compare, and are not
// shown.
type Key struct {
	// Live reads and Writer writes the Secret.
	Live   client.Reader
	Writer client.Writer
	// Secret that holds the key.
	Secret types.NamespacedName
	// Random is the source of a new key.
	Random io.Reader
	// Clock tells the time.
	Clock func() time.Time

	mu  sync.Mutex
	key []byte
	// temporary is used while there is no key; missing says why, and checked is when that was found.
	temporary []byte
	missing   string
	checked   time.Time
}

// load reads the key, or makes one. The caller holds mu.
func (k *Key) load(ctx context.Context) error {
	var secret corev1.Secret
	err := k.Live.Get(ctx, k.Secret, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return k.create(ctx)
	case apierrors.IsForbidden(err):
		return k.doWithout(ctx, fmt.Sprintf("Secret %s with the key for status hashes may not be read", k.Secret))
	case err != nil:
		return refusal.Wrap(err, "reading Secret %s", k.Secret)
	}
	key := secret.Data[keyField]
	if len(key) != keyBytes {
		if key, err = k.random(); err != nil {
			return err
		}
		// Update, not patch: it carries the resourceVersion, so two leaders can't overwrite each other's key.
		secret.Data = map[string][]byte{keyField: key}
		err := k.Writer.Update(ctx, &secret)
		if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || refusal.Denied(err) {
			return k.doWithout(ctx, fmt.Sprintf("Secret %s has no key for status hashes, and can't be filled: %s",
				k.Secret, refusal.Describe(err)))
		}
		if err != nil {
			return refusal.Wrap(err, "writing Secret %s", k.Secret)
		}
	}
	k.key, k.missing = key, ""
	return nil
}

// create makes the Secret that somebody deleted, where the controller may.
func (k *Key) create(ctx context.Context) error {
	key, err := k.random()
	if err != nil {
		return err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: k.Secret.Namespace, Name: k.Secret.Name},
		Data: map[string][]byte{keyField: key}}
	if err := k.Writer.Create(ctx, secret); err != nil {
		return k.doWithout(ctx,
			fmt.Sprintf("Secret %s with the key for status hashes is missing and can't be created: %s", k.Secret,
				refusal.Describe(err)))
	}
	log.FromContext(ctx).Info("created the missing Secret with the key for status hashes; hashes change once", "secret",
		k.Secret.String())
	k.key, k.missing = key, ""
	return nil
}

// doWithout goes on with a key of this process.
func (k *Key) doWithout(ctx context.Context, missing string) (err error) {
	if k.temporary == nil {
		if k.temporary, err = k.random(); err != nil {
			return err
		}
	}
	missing += "; run helm upgrade to create it again"
	if k.missing != missing {
		log.FromContext(ctx).Info("statuses have no hashes", "cause", missing)
	}
	k.missing, k.checked = missing, k.Clock()
	return nil
}

func (k *Key) random() ([]byte, error) {
	key := make([]byte, keyBytes)
	if _, err := io.ReadFull(k.Random, key); err != nil {
		return nil, fmt.Errorf("making the key for the hashes in statuses: %w", err)
	}
	return key, nil
}

// Missing says why there is no key of the installation, and how to get it back. While it is not empty, hashes are those
// of this process and must not be shown.
func (k *Key) Missing() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.missing
}

// Hash is the HMAC-SHA-256 of the owner and the data in key order, hexadecimal; each part is preceded by its length, so
// that no two different data have one text. The owner is in it so that equal values of two tenants don't have equal
// hashes: one could try guesses and compare. The first call loads the key.
func (k *Key) Hash(ctx context.Context, owner types.UID, data map[string]keyvault.Value) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key == nil && (k.temporary == nil || k.Clock().Sub(k.checked) >= limits.StatusKeyRetry) {
		if err := k.load(ctx); err != nil {
			return "", err
		}
	}
	key := k.key
	if key == nil {
		key = k.temporary
	}
	mac := hmac.New(sha256.New, key)
	part := func(b []byte) {
		_, _ = mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		_, _ = mac.Write(b)
	}
	part([]byte(owner))
	for _, name := range slices.Sorted(maps.Keys(data)) {
		part([]byte(name))
		part(data[name].Reveal())
	}
	return hex.EncodeToString(mac.Sum(nil)), nil
}
