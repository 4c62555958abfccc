package legacy

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/fairshare"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Transition is what it takes to serve the predecessor's protocol; every field but Allowance and Reserved is required.
type Transition struct {
	// Writer writes the CA into Secrets of pods, and nothing else.
	Writer client.Writer
	// Serving is a Secret of ours that the upgrade made, so that its age, which the API server keeps, is the upgrade's;
	// pods that were created later than that and the Allowance are not served.
	Serving   types.NamespacedName
	Allowance time.Duration
	// CA is the predecessor's Secret with its CA. If it is gone, pods are given our own.
	CA types.NamespacedName
	// Label and LabelValue mark the namespaces whose pods are injected.
	Label, LabelValue string
	// Reserved says whether a namespace reads vaults as somebody else, so that the installation's token is not for it;
	// nil means never.
	Reserved func(namespace string) bool
	// Root are our own CAs, PEM; empty until there is one. Leaf is what is served with.
	Root func() string
	Leaf func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Token is the installation's for vaults. Errors are of package fault and hold no token.
	Token  func(context.Context) (string, error)
	Clock  func() time.Time
	Random io.Reader
}

// transition serves the predecessor's protocol.
type transition struct {
	*Handler
	*Transition
	heritage atomic.Pointer[heritage]
	vouched  atomic.Pointer[vouching]
	answers  *prometheus.CounterVec
}

func newTransition(h *Handler) (*transition, error) {
	t := h.Transition
	if t.Writer == nil || t.Serving.Name == "" || t.CA.Name == "" || t.Label == "" || t.Root == nil || t.Leaf == nil ||
		t.Token == nil || t.Clock == nil || t.Random == nil {
		return nil, errors.New("creating the transition of older pods: a part of its configuration is missing")
	}
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "akv2k8s_legacy_answers_total",
		Help: "Answers to pods of an older version while legacyAuthService is on: token, known, written, refused or " +
			"unavailable."}, []string{"answer"})
	return &transition{Handler: h, Transition: t, answers: answers}, h.Registry.Register(answers)
}

// validate is the first step, over plain HTTP: does the pod have the CA to verify us by? Nobody proves who he is here,
// so all that can come of it is that a pod's own Secret gets a certificate that is public.
func (t *transition) validate(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), limits.LegacyTime)
	defer cancel()
	secret := secretOf(r)
	if secret == "" {
		t.count("refused")
		http.Error(w, "the name of the pod's Secret is missing, or can't be one", http.StatusBadRequest)
		return
	}
	name, err := nameOf(r)
	written := false
	if err == nil {
		written, err = t.validateOnce(ctx, r, name, secret)
	}
	switch {
	case err != nil:
		t.refuse(w, r, name, err)
	case written:
		t.count("written")
		w.WriteHeader(http.StatusCreated)
	default:
		t.count("known")
		w.WriteHeader(http.StatusOK)
	}
}

func (t *transition) validateOnce(ctx context.Context, r *http.Request, name types.NamespacedName,
	secret string) (written bool, err error) {
	leave, err := t.shares.enter(ctx, t.shares.validations, fairshare.Address(r.RemoteAddr))
	if err != nil {
		return false, err
	}
	defer leave()
	return t.entrust(ctx, name, secret)
}

// Tokens is the second step, over TLS: a pod that shows the certificate of its own Secret gets the installation's
// token. It is nil without a transition.
func (h *Handler) Tokens() http.Handler {
	if h.transition == nil {
		return nil
	}
	return http.HandlerFunc(h.transition.give)
}

func (t *transition) give(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), limits.LegacyTime)
	defer cancel()
	name, err := nameOf(r)
	token := ""
	if err == nil {
		token, err = t.token(ctx, r, name)
	}
	if err != nil {
		t.refuse(w, r, name, err)
		return
	}
	t.count("token")
	if t.shares.reports.Allow(name.Namespace) {
		t.Log.Info("gave the installation's token to a pod of an older version", "namespace", name.Namespace, "pod",
			name.Name)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string]string{"oauth_token": token})
}

func (t *transition) token(ctx context.Context, r *http.Request, name types.NamespacedName) (string, error) {
	connection := r.TLS
	// TLS has proven that the client has the certificate's key, and nothing else yet.
	if connection == nil || len(connection.PeerCertificates) == 0 {
		return "", fault.New(fault.Denied, "no client certificate was shown")
	}
	shown := connection.PeerCertificates[0]
	left := t.heritage.Load()
	if left == nil {
		return "", unknown()
	}
	if err := left.issued(shown, t.Clock()); err != nil { // before anything is asked for a stranger
		return "", err
	}
	leave, err := t.shares.enter(ctx, t.shares.tokens, fairshare.Address(r.RemoteAddr))
	if err != nil {
		return "", err
	}
	defer leave()
	who, err := t.admit(ctx, name, left)
	if err != nil {
		return "", err
	}
	if !who.certificate.Equal(shown) {
		return "", fault.New(fault.Denied, "the client certificate is not that of Secret %q, which the pod mounts",
			who.secret.Name)
	}
	t.tell(who.pod, served)
	return t.Token(ctx)
}

func unknown() error {
	return fault.New(fault.Unavailable, "what the older version left is not known yet")
}

// refuse answers the same whatever is wrong with the pod; the log says what, as long as one address does not fill it.
func (t *transition) refuse(w http.ResponseWriter, r *http.Request, name types.NamespacedName, err error) {
	if from := fairshare.Address(r.RemoteAddr); t.shares.refusals.Allow(from) {
		t.Log.Info("refused a pod of an older version", "remoteAddr", from, "namespace", name.Namespace, "pod",
			name.Name, "error", err.Error())
	}
	if fault.KindOf(err) == fault.Denied {
		t.count("refused")
		http.Error(w, advice, http.StatusForbidden)
		return
	}
	t.count("unavailable")
	w.Header().Set("Retry-After", "3")
	http.Error(w, "the auth service can't answer at the moment; its log says why", http.StatusServiceUnavailable)
}

func (t *transition) count(answer string) { t.answers.WithLabelValues(answer).Inc() }
