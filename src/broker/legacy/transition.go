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
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// Transition is what it takes to serve the predecessor's protocol; every field but Allowance and Reserved is required.
type Transition struct {
	// Writer writes the CA into Secrets of pods, and nothing else.
	Writer client.Writer
	// Serving is a Secret of ours that the upgrade made, so that its age, which the API server keeps, is the upgrade's; pods that were
	// created later than that and the Allowance are not served.
	Serving   types.NamespacedName
	Allowance time.Duration
	// CA is the predecessor's Secret with its CA. If it is gone, pods are given our own.
	CA types.NamespacedName
	// Label and LabelValue mark the namespaces whose pods are injected.
	Label, LabelValue string
	// Reserved says whether a namespace reads vaults as somebody else, so that the installation's token is not for it; nil means never.
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
	// validations and tokens bound each of the two steps, so that who can't do the second takes nothing of it by the first.
	validations, tokens *rate.Limiter
}

// Bounds of either step. Many pods ask at once when a node comes back, and wait for each other then.
const (
	stepsPerSecond = 50
	stepsBurst     = 200
	// patience is shorter than the ten seconds that the wrapper waits.
	patience = 8 * time.Second
)

func newTransition(h *Handler) (*transition, error) {
	t := h.Transition
	if t.Writer == nil || t.Serving.Name == "" || t.CA.Name == "" || t.Label == "" || t.Root == nil || t.Leaf == nil || t.Token == nil || t.Clock == nil || t.Random == nil {
		return nil, errors.New("creating the transition of older pods: a part of its configuration is missing")
	}
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "akv2k8s_legacy_answers_total",
		Help: "Answers to pods of an older version while legacyAuthService is on: token, known, written, refused or unavailable."}, []string{"answer"})
	return &transition{Handler: h, Transition: t, answers: answers, validations: rate.NewLimiter(stepsPerSecond, stepsBurst),
		tokens: rate.NewLimiter(stepsPerSecond, stepsBurst)}, h.Registry.Register(answers)
}

// validate is the first step, over plain HTTP: does the pod have the CA to verify us by? Nobody proves who he is here, so all that can come
// of it is that a pod's own Secret gets a certificate that is public.
func (t *transition) validate(w http.ResponseWriter, r *http.Request, name types.NamespacedName) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	secret := r.URL.Query().Get("secret")
	if secret == "" {
		t.count("refused")
		http.Error(w, "the name of the pod's Secret is missing", http.StatusBadRequest)
		return
	}
	err := t.wait(ctx, t.validations)
	written := false
	if err == nil {
		written, err = t.entrust(ctx, name, secret)
	}
	switch {
	case err != nil:
		t.refuse(w, name, err)
	case written:
		t.count("written")
		w.WriteHeader(http.StatusCreated)
	default:
		t.count("known")
		w.WriteHeader(http.StatusOK)
	}
}

// Tokens is the second step, over TLS: a pod that shows the certificate of its own Secret gets the installation's token. It is nil
// without a transition.
func (h *Handler) Tokens() http.Handler {
	if h.transition == nil {
		return nil
	}
	return http.HandlerFunc(h.transition.give)
}

func (t *transition) give(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	name := types.NamespacedName{Namespace: r.PathValue("namespace"), Name: r.PathValue("pod")}
	token, err := t.token(ctx, r.TLS, name)
	if err != nil {
		t.refuse(w, name, err)
		return
	}
	t.count("token")
	t.Log.Info("gave the installation's token to a pod of an older version", "namespace", name.Namespace, "pod", name.Name)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string]string{"oauth_token": token})
}

func (t *transition) token(ctx context.Context, connection *tls.ConnectionState, name types.NamespacedName) (string, error) {
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
	if err := t.wait(ctx, t.tokens); err != nil {
		return "", err
	}
	who, err := t.admit(ctx, name, left)
	if err != nil {
		return "", err
	}
	if !who.certificate.Equal(shown) {
		return "", fault.New(fault.Denied, "the client certificate is not that of Secret %q, which the pod mounts", who.secret.Name)
	}
	t.tell(who.pod, served)
	return t.Token(ctx)
}

func (t *transition) wait(ctx context.Context, limit *rate.Limiter) error {
	if limit.Wait(ctx) != nil {
		return fault.New(fault.Throttled, "too many pods of an older version ask at once")
	}
	return nil
}

func unknown() error {
	return fault.New(fault.Unavailable, "what the older version left is not known yet")
}

// refuse answers the same whatever is wrong with the pod; the log says what.
func (t *transition) refuse(w http.ResponseWriter, name types.NamespacedName, err error) {
	t.Log.Info("refused a pod of an older version", "namespace", name.Namespace, "pod", name.Name, "error", err.Error())
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
