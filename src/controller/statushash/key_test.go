package statushash_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/controller/statushash"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

var keySecret = types.NamespacedName{Namespace: "akv2k8s", Name: "akv2k8s-status-key"}

// bench has a Key whose Secret holds content, if there is any, on an API server that can fail.
type bench struct {
	*testing.T
	key    *statushash.Key
	client client.WithWatch
	// onRead and onWrite return the error of a request to the API server; nil lets the request through.
	onRead, onWrite error
	reads           int
	now             time.Time
}

func newBench(t *testing.T, content []byte) *bench {
	t.Helper()
	b := &bench{T: t, now: time.Unix(1800000000, 0)}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: keySecret.Namespace, Name: keySecret.Name}}
	if content != nil {
		secret.Data = map[string][]byte{"key": content}
	}
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(secret).Build()
	b.client = interceptor.NewClient(api, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object,
			opts ...client.GetOption) error {
			if b.reads++; b.onRead != nil {
				return b.onRead
			}
			return c.Get(ctx, name, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if b.onWrite != nil {
				return b.onWrite
			}
			return c.Update(ctx, o, opts...)
		}})
	b.key = &statushash.Key{APIReader: b.client, Writer: b.client, SecretName: keySecret, Clock: func() time.Time { return b.now },
		Random: strings.NewReader(strings.Repeat("k", 32) + strings.Repeat("l", 320))}
	return b
}

func (b *bench) hash() (string, error) {
	return b.key.Hash(b.Context(), "uid", map[string]keyvault.Value{"a": keyvault.NewValue([]byte("value"))})
}

func (b *bench) stored() []byte {
	b.Helper()
	b.onRead = nil
	var secret corev1.Secret
	require.NoError(b, b.client.Get(b.Context(), keySecret, &secret))
	return secret.Data["key"]
}

func TestAKeyThatIsThereStaysAndOneOfAnotherLengthIsReplaced(t *testing.T) {
	good := bytes.Repeat([]byte("g"), 32)
	for name, c := range map[string]struct{ before, after []byte }{
		"a key":             {good, good},
		"none yet":          {nil, bytes.Repeat([]byte("k"), 32)},
		"an empty one":      {[]byte{}, bytes.Repeat([]byte("k"), 32)},
		"one that is short": {[]byte("short"), bytes.Repeat([]byte("k"), 32)},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, c.before)
			first, err := b.hash()
			require.NoError(t, err)
			assert.Empty(t, b.key.UnavailableReason())
			assert.Equal(t, c.after, b.stored())
			reads := b.reads
			again, err := b.hash()
			require.NoError(t, err)
			assert.Equal(t, first, again)
			assert.Equal(t, reads, b.reads, "it is read once")
			other, err := newBench(t, c.after).hash()
			require.NoError(t, err)
			assert.Equal(t, first, other, "the next leader has the same hashes")
		})
	}
}

func TestAKeyThatMayNotBeReadOrWrittenIsDoneWithoutAndTriedAgain(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	denied := apierrors.NewInternalError(errors.New(`admission webhook "p.example.org" denied the request: no`))
	denied.ErrStatus.Message = `admission webhook "p.example.org" denied the request: no`
	for name, c := range map[string]struct{ onRead, onWrite error }{
		"forbidden to read":   {apierrors.NewForbidden(secrets, keySecret.Name, nil), nil},
		"forbidden to write":  {nil, apierrors.NewForbidden(secrets, keySecret.Name, nil)},
		"immutable":           {nil, apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, keySecret.Name, nil)},
		"denied by a webhook": {nil, denied},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.onRead, b.onWrite = c.onRead, c.onWrite
			first, err := b.hash()
			require.NoError(t, err, "no sync stops for it")
			assert.Contains(t, b.key.UnavailableReason(), keySecret.String())
			assert.Contains(t, b.key.UnavailableReason(), "helm upgrade")
			reads := b.reads
			b.now = b.now.Add(limits.StatusKeyRetry - 1)
			again, err := b.hash()
			require.NoError(t, err)
			assert.Equal(t, first, again, "a repair is not taken for a change")
			assert.Equal(t, reads, b.reads)
			b.now = b.now.Add(1)
			again, err = b.hash()
			require.NoError(t, err)
			assert.Equal(t, first, again)
			assert.Greater(t, b.reads, reads)
			b.onRead, b.onWrite, b.now = nil, nil, b.now.Add(limits.StatusKeyRetry)
			_, err = b.hash()
			require.NoError(t, err)
			assert.Empty(t, b.key.UnavailableReason())
			assert.Len(t, b.stored(), 32)
		})
	}
}

func TestAFailureThatPassesIsNoMissingKey(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, keySecret.Name, errors.New("changed"))
	for name, c := range map[string]struct{ onRead, onWrite error }{
		"of a read":  {errors.New("no answer"), nil},
		"of a write": {nil, conflict},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.onRead, b.onWrite = c.onRead, c.onWrite
			_, err := b.hash()
			require.Error(t, err, "a hash of a key that nobody keeps must not get into a status")
			assert.Empty(t, b.key.UnavailableReason())
			b.onRead, b.onWrite = nil, nil
			hash, err := b.hash()
			require.NoError(t, err)
			other, err := newBench(t, b.stored()).hash()
			require.NoError(t, err)
			assert.Equal(t, hash, other)
		})
	}
}

func TestWithoutRandomnessThereIsNoKey(t *testing.T) {
	b := newBench(t, nil)
	b.key.Random = strings.NewReader("too short")
	_, err := b.hash()
	require.Error(t, err)
	assert.Empty(t, b.stored(), "a key that can be guessed is none")
}

func TestOtherDataAndOtherOwnersHaveOtherHashes(t *testing.T) {
	b := newBench(t, bytes.Repeat([]byte("g"), 32))
	seen := map[string]bool{}
	for _, c := range []struct {
		owner types.UID
		data  map[string]string
	}{
		{"uid", nil}, {"another", nil}, {"uid", map[string]string{"a": "b"}}, {"uid", map[string]string{"b": "a"}},
		{"uid", map[string]string{"a": "c"}}, {"uid", map[string]string{"ab": ""}}, {"uid", map[string]string{"": "ab"}},
		{"uid", map[string]string{"a": "b", "c": "d"}}, {"uid", map[string]string{"a": "bcd"}},
	} {
		data := map[string]keyvault.Value{}
		for name, value := range c.data {
			data[name] = keyvault.NewValue([]byte(value))
		}
		hash, err := b.key.Hash(t.Context(), c.owner, data)
		require.NoError(t, err)
		assert.False(t, seen[hash], "%+v", c)
		seen[hash] = true
	}
}
