package authservice

import (
	"context"
	"crypto/tls"
	"encoding/json"
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
	"github.com/akv2k8s/akv2k8s/src/logkey"
)

// ProtocolConfig configures the protocol of 1.8. Fields are required unless their comment says that they are optional.
type ProtocolConfig struct {
	// Writer writes the CA into the Secrets of pods. It writes nothing else.
	Writer client.Writer
	// ServingSecret is the Secret with our own CA. The upgrade creates it, so its creation time is the time of the
	// upgrade. Pods that were created later are not served, except within the allowance.
	ServingSecret    types.NamespacedName
	UpgradeAllowance time.Duration
	// CASecret is the Secret with the CA of 1.8. If it does not exist, pods get our own CA.
	CASecret types.NamespacedName
	// Key and value of the label that enables injection in a namespace.
	NamespaceLabel, NamespaceLabelValue string
	// HasOwnIdentity reports whether a namespace has its own identity for vaults, so that its pods do not get the
	// installation's token. Optional. If nil, no namespace has one.
	HasOwnIdentity func(namespace string) bool
	// RootCAs returns our own CAs in PEM, or "" if there is none yet.
	RootCAs func() string
	// ServingCertificate returns our serving certificate.
	ServingCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// VaultToken returns the installation's token for vaults. Errors are of package fault and hold no token.
	VaultToken func(context.Context) (string, error)
	Clock      func() time.Time
	Random     io.Reader
}

// protocolServer serves the protocol of 1.8.
type protocolServer struct {
	*Handler
	*ProtocolConfig
	state         atomic.Pointer[v1State]
	crossSigned   atomic.Pointer[crossCertificate]
	answerCounter *prometheus.CounterVec
}

func newProtocolServer(h *Handler) (*protocolServer, error) {
	t := h.Protocol
	if err := fault.RequireFields("authservice.New", map[string]bool{
		"Protocol.Writer": t.Writer != nil, "Protocol.ServingSecret": t.ServingSecret.Name != "",
		"Protocol.CASecret": t.CASecret.Name != "", "Protocol.NamespaceLabel": t.NamespaceLabel != "",
		"Protocol.RootCAs": t.RootCAs != nil, "Protocol.ServingCertificate": t.ServingCertificate != nil,
		"Protocol.VaultToken": t.VaultToken != nil, "Protocol.Clock": t.Clock != nil,
		"Protocol.Random": t.Random != nil,
	}); err != nil {
		return nil, err
	}
	answers, err := newAnswerCounter(h.Registry)
	return &protocolServer{Handler: h, ProtocolConfig: t, answerCounter: answers}, err
}

// handleValidation serves the first step, over plain HTTP: it makes sure that the pod has a CA that verifies our
// serving certificate. The client is not authenticated, so the only effect is that a public certificate is written into
// the pod's own Secret.
func (t *protocolServer) handleValidation(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), limits.V1RequestTime)
	defer cancel()
	secret := secretNameOf(r)
	if secret == "" {
		t.countAnswer("refused")
		http.Error(w, "the query parameter secret is not a valid Secret name", http.StatusBadRequest)
		return
	}
	name, err := podNameOf(r)
	written := false
	if err == nil {
		written, err = t.validatePod(ctx, r, name, secret)
	}
	switch {
	case err != nil:
		t.rejectPod(w, r, name, err)
	case written:
		t.countAnswer("written")
		w.WriteHeader(http.StatusCreated)
	default:
		t.countAnswer("known")
		w.WriteHeader(http.StatusOK)
	}
}

func (t *protocolServer) validatePod(ctx context.Context, r *http.Request, name types.NamespacedName,
	secret string) (written bool, err error) {
	leave, err := t.limiters.acquireSlot(ctx, t.limiters.validationRate, fairshare.AddressKey(r.RemoteAddr))
	if err != nil {
		return false, err
	}
	defer leave()
	return t.ensurePodTrustsCA(ctx, name, secret)
}

// TokenHandler returns the handler of the second step, over TLS: a pod that presents the client certificate of its own
// Secret gets the installation's token. It returns nil if the protocol is disabled.
func (h *Handler) TokenHandler() http.Handler {
	if h.protocol == nil {
		return nil
	}
	return http.HandlerFunc(h.protocol.handleToken)
}

func (t *protocolServer) handleToken(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), limits.V1RequestTime)
	defer cancel()
	name, err := podNameOf(r)
	token := ""
	if err == nil {
		token, err = t.issueToken(ctx, r, name)
	}
	if err != nil {
		t.rejectPod(w, r, name, err)
		return
	}
	t.countAnswer("token")
	if t.limiters.reportRate.Allow(name.Namespace) {
		t.Log.Info("gave the installation's token to a pod of akv2k8s 1.8", logkey.Namespace, name.Namespace,
			logkey.Pod, name.Name)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string]string{"oauth_token": token})
}

func (t *protocolServer) issueToken(ctx context.Context, r *http.Request, name types.NamespacedName) (string, error) {
	connection := r.TLS
	// TLS has verified only that the client has the private key of the certificate.
	if connection == nil || len(connection.PeerCertificates) == 0 {
		return "", fault.New(fault.Denied, "the client presented no certificate")
	}
	shown := connection.PeerCertificates[0]
	left := t.state.Load()
	if left == nil {
		return "", stateUnknownError()
	}
	if err := left.checkClientCertificate(shown,
		t.Clock()); err != nil { // before calling the API server for an unauthenticated client
		return "", err
	}
	leave, err := t.limiters.acquireSlot(ctx, t.limiters.tokenRate, fairshare.AddressKey(r.RemoteAddr))
	if err != nil {
		return "", err
	}
	defer leave()
	who, err := t.admitPod(ctx, name, left)
	if err != nil {
		return "", err
	}
	if !who.certificate.Equal(shown) {
		return "", fault.New(fault.Denied, "the client certificate is not the one in Secret %q, which the pod mounts",
			who.secret.Name)
	}
	t.reportV1Pod(who.pod, servedMessage)
	return t.VaultToken(ctx)
}

func stateUnknownError() error {
	return fault.New(fault.Unavailable, "the CA of akv2k8s 1.8 has not been read yet")
}

// rejectPod writes the same response for every error of a kind, so that it reveals nothing to the client. It logs the
// cause, at a limited rate by address.
func (t *protocolServer) rejectPod(w http.ResponseWriter, r *http.Request, name types.NamespacedName, err error) {
	if from := fairshare.AddressKey(r.RemoteAddr); t.limiters.rejectionLogRate.Allow(from) {
		t.Log.Info("rejected a pod of akv2k8s 1.8", logkey.RemoteAddr, from, logkey.Namespace, name.Namespace,
			logkey.Pod, name.Name, logkey.Error, err.Error())
	}
	if fault.KindOf(err) == fault.Denied {
		t.countAnswer("refused")
		http.Error(w, recreateMessage, http.StatusForbidden)
		return
	}
	t.countAnswer("unavailable")
	w.Header().Set("Retry-After", "3")
	http.Error(w, "the auth service is unavailable; see the log of the env-injector", http.StatusServiceUnavailable)
}

func (t *protocolServer) countAnswer(answer string) { t.answerCounter.WithLabelValues(answer).Inc() }
