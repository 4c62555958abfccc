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

// Transition configures the protocol of 1.8. Fields are required unless their comment says that they are optional.
type Transition struct {
	// Writer writes the CA into the Secrets of pods. It writes nothing else.
	Writer client.Writer
	// Serving is the Secret with our own CA. The upgrade creates it, so its creation time is the time of the upgrade.
	// Pods that were created later are not served, except within the allowance.
	Serving   types.NamespacedName
	Allowance time.Duration
	// CA is the Secret with the CA of 1.8. If it does not exist, pods get our own CA.
	CA types.NamespacedName
	// Key and value of the label that enables injection in a namespace.
	Label, LabelValue string
	// Reserved reports whether a namespace has its own identity for vaults, so that its pods do not get the
	// installation's token. Optional. If nil, no namespace has one.
	Reserved func(namespace string) bool
	// Root returns our own CAs in PEM, or "" if there is none yet.
	Root func() string
	// Leaf returns our serving certificate.
	Leaf func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Token returns the installation's token for vaults. Errors are of package fault and hold no token.
	Token  func(context.Context) (string, error)
	Clock  func() time.Time
	Random io.Reader
}

// transition serves the protocol of 1.8.
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
		return nil, errors.New("creating the v1 auth service: the configuration of the protocol lacks a required field")
	}
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "akv2k8s_legacy_answers_total",
		Help: "Responses to pods of akv2k8s 1.8 while legacyAuthService is enabled: token, known, written, refused " +
			"or unavailable."}, []string{"answer"})
	return &transition{Handler: h, Transition: t, answers: answers}, h.Registry.Register(answers)
}

// validate serves the first step, over plain HTTP: it makes sure that the pod has a CA that verifies our serving
// certificate. The client is not authenticated, so the only effect is that a public certificate is written into the
// pod's own Secret.
func (t *transition) validate(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), limits.LegacyTime)
	defer cancel()
	secret := secretOf(r)
	if secret == "" {
		t.count("refused")
		http.Error(w, "the query parameter secret is not a valid Secret name", http.StatusBadRequest)
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

// Tokens returns the handler of the second step, over TLS: a pod that presents the client certificate of its own Secret
// gets the installation's token. It returns nil if the protocol is disabled.
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
		t.Log.Info("gave the installation's token to a pod of akv2k8s 1.8", "namespace", name.Namespace, "pod",
			name.Name)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string]string{"oauth_token": token})
}

func (t *transition) token(ctx context.Context, r *http.Request, name types.NamespacedName) (string, error) {
	connection := r.TLS
	// TLS has verified only that the client has the private key of the certificate.
	if connection == nil || len(connection.PeerCertificates) == 0 {
		return "", fault.New(fault.Denied, "the client presented no certificate")
	}
	shown := connection.PeerCertificates[0]
	left := t.heritage.Load()
	if left == nil {
		return "", unknown()
	}
	if err := left.issued(shown, t.Clock()); err != nil { // before calling the API server for an unauthenticated client
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
		return "", fault.New(fault.Denied, "the client certificate is not the one in Secret %q, which the pod mounts",
			who.secret.Name)
	}
	t.tell(who.pod, served)
	return t.Token(ctx)
}

func unknown() error {
	return fault.New(fault.Unavailable, "the CA of akv2k8s 1.8 has not been read yet")
}

// refuse writes the same response for every error of a kind, so that it reveals nothing to the client. It logs the
// cause, at a limited rate by address.
func (t *transition) refuse(w http.ResponseWriter, r *http.Request, name types.NamespacedName, err error) {
	if from := fairshare.Address(r.RemoteAddr); t.shares.refusals.Allow(from) {
		t.Log.Info("rejected a pod of akv2k8s 1.8", "remoteAddr", from, "namespace", name.Namespace, "pod",
			name.Name, "error", err.Error())
	}
	if fault.KindOf(err) == fault.Denied {
		t.count("refused")
		http.Error(w, advice, http.StatusForbidden)
		return
	}
	t.count("unavailable")
	w.Header().Set("Retry-After", "3")
	http.Error(w, "the auth service is unavailable; see the log of the env-injector", http.StatusServiceUnavailable)
}

func (t *transition) count(answer string) { t.answers.WithLabelValues(answer).Inc() }
