package cache_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// lists returns the given lists in turn; a nil list is an error.
type lists struct {
	next  [][]string
	calls int
}

func (l *lists) Fetch(_ context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	names := l.next[min(l.calls, len(l.next)-1)]
	l.calls++
	if names == nil {
		return keyvault.Object{}, fault.New(fault.Unavailable, "503")
	}
	object := keyvault.Object{Ref: ref, Version: "list"}
	for _, name := range names {
		object.Entries = append(object.Entries, keyvault.Entry{Name: name})
	}
	return object, nil
}

func TestOnlyWhatTwoListsInARowLackIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		lists [][]string
		want  []string
		calls int
		fails bool
	}{
		"nothing changed":                     {[][]string{{"a", "b"}, {"b", "a"}}, []string{"b", "a"}, 2, false},
		"letter case is no change":            {[][]string{{"a", "B"}, {"A", "b"}}, []string{"A", "b"}, 2, false},
		"one more":                            {[][]string{{"a"}, {"a", "b"}}, []string{"a", "b"}, 2, false},
		"a list that was cut short":           {[][]string{{"a", "b", "c"}, {"a"}, {"a", "b", "c"}}, []string{"a", "b", "c"}, 3, false},
		"one that is gone":                    {[][]string{{"a", "b", "c"}, {"a", "c"}, {"a", "c"}}, []string{"a", "c"}, 3, false},
		"two lists, each cut short elsewhere": {[][]string{{"a", "b", "c"}, {"a", "b"}, {"a", "c"}}, []string{"a", "c", "b"}, 3, false},
		"all gone":                            {[][]string{{"a"}, {}, {}}, nil, 3, false},
		"the second does not come":            {[][]string{{"a", "b"}, {"a"}, nil}, nil, 3, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &lists{next: c.lists}
				r := open(t, l)
				ctx := keyvault.WithPurpose(t.Context(), keyvault.Purpose{RefreshInterval: time.Minute})
				list := keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecretList}
				_, err := r.Read(ctx, list, 0)
				require.NoError(t, err)
				time.Sleep(time.Minute)
				got, err := r.Read(ctx, list, 0)
				assert.Equal(t, c.fails, err != nil, "%v", err)
				var names []string
				for _, e := range got.Entries {
					names = append(names, e.Name)
				}
				assert.Equal(t, c.want, names)
				assert.Equal(t, c.calls, l.calls)
			})
		})
	}
}

// A restart, or an interval longer than a result is cached, leaves no list to compare with.
func TestAListWhoseGapsDeleteDataIsReadTwiceIfThereIsNoneToCompareWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecretList}
		l := &lists{next: [][]string{{"a"}, {"b"}, {"a", "b"}, {"a", "b"}, {"a", "b"}}}
		r := open(t, l)
		plain := keyvault.WithPurpose(t.Context(), keyvault.Purpose{RefreshInterval: time.Minute})
		confirm := keyvault.WithPurpose(t.Context(), keyvault.Purpose{RefreshInterval: time.Minute, ConfirmList: true})
		got, err := r.Read(confirm, list, 0)
		require.NoError(t, err)
		assert.Len(t, got.Entries, 2, "an entry is there if one of the lists has it")
		assert.Equal(t, 2, l.calls)
		_, err = r.Read(confirm, list, age)
		require.NoError(t, err)
		assert.Equal(t, 2, l.calls, "others share it")
		_, err = r.Read(confirm, list, 0)
		require.NoError(t, err)
		assert.Equal(t, 3, l.calls, "the next one has a list to compare with")

		other := keyvault.Ref{Vault: "kv2", Kind: keyvault.KindSecretList}
		_, err = r.Read(plain, other, 0)
		require.NoError(t, err)
		assert.Equal(t, 4, l.calls, "a reader that deletes nothing needs one list")
		_, err = r.Read(confirm, other, age)
		require.NoError(t, err)
		assert.Equal(t, 5, l.calls, "and its list is compared with a second one")
	})
}
