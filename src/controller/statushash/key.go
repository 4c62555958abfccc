package statushash

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

	"github.com/akv2k8s/akv2k8s/src/controller/redactederror"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
)

const (
	// keyDataKey is the data key of the Secret that holds the HMAC key.
	keyDataKey = "key"
	// keySize is the length of the HMAC key, in bytes.
	keySize = 32
)

// Key is the installation's HMAC key for the hashes in statuses. With an unkeyed hash, everyone who can read statuses
// could guess a short secret. The chart creates the Secret without data, and the leader writes the key into it; only
// the leader computes hashes. If the Secret does not exist and cannot be created, hashes use a temporary key of this
// process. Such hashes serve only for comparison and must not be shown.
type Key struct {
	// APIReader reads the Secret from the API server; Writer creates and updates it.
	APIReader client.Reader
	Writer    client.Writer
	// SecretName is the Secret that holds the key.
	SecretName types.NamespacedName
	// Random is the source of randomness for a new key.
	Random io.Reader
	// Clock returns the current time.
	Clock func() time.Time

	mu  sync.Mutex
	key []byte
	// temporaryKey is the key of this process, used while the installation's key is unavailable.
	temporaryKey []byte
	// unavailableReason is the reason why the installation's key is unavailable; empty if it is available.
	unavailableReason string
	// lastAttempt is the time of the last attempt to load the installation's key.
	lastAttempt time.Time
}

// loadKey reads the key from the Secret, or creates a key. The caller holds mu.
func (k *Key) loadKey(ctx context.Context) error {
	var secret corev1.Secret
	err := k.APIReader.Get(ctx, k.SecretName, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return k.createSecret(ctx)
	case apierrors.IsForbidden(err):
		return k.useTemporaryKey(ctx, fmt.Sprintf("no permission to read Secret %s with the key for status hashes",
			k.SecretName))
	case err != nil:
		return redactederror.Wrap(err, "reading Secret %s", k.SecretName)
	}
	key := secret.Data[keyDataKey]
	if len(key) != keySize {
		if key, err = k.generateKey(); err != nil {
			return err
		}
		// Update instead of Patch: it carries the resourceVersion, so two leaders can't overwrite each other's key.
		secret.Data = map[string][]byte{keyDataKey: key}
		err := k.Writer.Update(ctx, &secret)
		if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || redactederror.IsWebhookDenied(err) {
			return k.useTemporaryKey(ctx,
				fmt.Sprintf("Secret %s has no key for status hashes, and writing one failed: %s",
					k.SecretName, redactederror.Describe(err)))
		}
		if err != nil {
			return redactederror.Wrap(err, "writing Secret %s", k.SecretName)
		}
	}
	k.key, k.unavailableReason = key, ""
	return nil
}

// createSecret creates the Secret after it was deleted, if the controller has the permission.
func (k *Key) createSecret(ctx context.Context) error {
	key, err := k.generateKey()
	if err != nil {
		return err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: k.SecretName.Namespace, Name: k.SecretName.Name},
		Data: map[string][]byte{keyDataKey: key}}
	if err := k.Writer.Create(ctx, secret); err != nil {
		return k.useTemporaryKey(ctx,
			fmt.Sprintf("Secret %s with the key for status hashes does not exist and can't be created: %s",
				k.SecretName,
				redactederror.Describe(err)))
	}
	log.FromContext(ctx).Info("created the missing Secret with the key for status hashes; all hashes change once",
		logkey.Secret, k.SecretName.String())
	k.key, k.unavailableReason = key, ""
	return nil
}

// useTemporaryKey switches to a temporary key of this process; missing is the reason.
func (k *Key) useTemporaryKey(ctx context.Context, missing string) (err error) {
	if k.temporaryKey == nil {
		if k.temporaryKey, err = k.generateKey(); err != nil {
			return err
		}
	}
	missing += "; run helm upgrade to create it again"
	if k.unavailableReason != missing {
		log.FromContext(ctx).Info("status hashes are not shown", logkey.Error, missing)
	}
	k.unavailableReason, k.lastAttempt = missing, k.Clock()
	return nil
}

func (k *Key) generateKey() ([]byte, error) {
	key := make([]byte, keySize)
	if _, err := io.ReadFull(k.Random, key); err != nil {
		return nil, fmt.Errorf("generating the key for status hashes: %w", err)
	}
	return key, nil
}

// UnavailableReason returns why the installation's key is unavailable, and the next step; empty if the key is
// available. While it is not empty, hashes use the temporary key and must not be shown.
func (k *Key) UnavailableReason() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.unavailableReason
}

// Hash returns the HMAC-SHA-256 of the owner's uid and the data in key order, in hexadecimal. Each part is prefixed
// with its length, so different data never produces the same input. The uid gives equal values of two tenants different
// hashes; otherwise a tenant could test guesses by comparing hashes. The first call loads the key.
func (k *Key) Hash(ctx context.Context, owner types.UID, data map[string]keyvault.Value) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key == nil && (k.temporaryKey == nil || k.Clock().Sub(k.lastAttempt) >= limits.StatusKeyRetry) {
		if err := k.loadKey(ctx); err != nil {
			return "", err
		}
	}
	key := k.key
	if key == nil {
		key = k.temporaryKey
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
