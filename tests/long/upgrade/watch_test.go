//go:build cluster

package upgrade

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// look is one try to create a pod with a reference: who changed it, or why it was refused.
type look struct {
	at  time.Time
	by  string
	err error
}

// watch looks at outputs, at the Secrets of akv2k8s 1.8 and at the webhook until stop is called, which tells what was
// seen.
func watch(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var looks []look
	absent, times := map[string]string{}, 0
	all.Go(func() {
		for ; ctx.Err() == nil; times++ {
			for name, key := range map[types.NamespacedName]string{{Namespace: users, Name: "app"}: "password",
				{Namespace: home, Name: "akv2k8s-envinjector-ca"}: "tls.key", {Namespace: home, Name: "akv2k8s-envinjector-tls"}: "tls.key"} {
				var secret corev1.Secret
				if err := s.Client.Get(ctx, name, &secret); ctx.Err() == nil && (err != nil || len(secret.Data[key]) == 0) {
					absent[name.Name] = key
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	all.Go(func() {
		dry := client.NewDryRunClient(s.Client)
		for ctx.Err() == nil {
			p := injected("tried")
			err := dry.Create(ctx, p)
			if ctx.Err() == nil {
				looks = append(looks, look{time.Now(), changedBy(p), err})
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	return func() {
		cancel()
		all.Wait()
		assert.Empty(t, absent, "a Secret was absent or empty for a moment")
		assert.Greater(t, times, 100)
		judge(t, looks)
	}
}

// changedBy says whose webhook changed a pod.
func changedBy(p *corev1.Pod) string {
	switch {
	case p.Labels["v1"] != "":
		return "akv2k8s 1.8"
	case slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == wire.VolumeInjector }):
		return "us"
	}
	return "nobody"
}

// judge prints the time in which the API server had no CA, and fails if it did not believe a replica at another time.
func judge(t *testing.T, looks []look) {
	t.Helper()
	var from, until time.Time
	var refusals, between int
	untrusted := func(l look) bool { return l.err != nil && strings.Contains(l.err.Error(), "x509") }
	for _, l := range looks {
		assert.NotEqual(t, "nobody", map[bool]string{true: "refused", false: l.by}[l.err != nil], "a pod with a reference went through as it is")
		switch {
		case untrusted(l) && from.IsZero():
			from = l.at
		case untrusted(l):
			assert.True(t, until.IsZero(), "once a replica was believed, each is: %v", l.err)
		case l.err == nil && !from.IsZero() && until.IsZero():
			until = l.at
		}
		if l.err != nil && !untrusted(l) {
			refusals++
			t.Logf("a replica on its way out: %v", l.err)
		}
		if !until.IsZero() && l.by == "akv2k8s 1.8" {
			between++
		}
	}
	assert.NotEmpty(t, looks)
	assert.Equal(t, "us", looks[len(looks)-1].by)
	gap := until.Sub(from)
	assert.Less(t, gap, 30*time.Second)
	s.Say("while helm upgraded, pods with references were refused for %.1fs, until the first new replica had published the CA; %d of %d looks after that were answered by akv2k8s 1.8, "+
		"%d met a replica on its way out", gap.Seconds(), between, len(looks), refusals)
}
