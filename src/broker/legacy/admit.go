package legacy

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Name prefix and data key of the Secret that 1.8 created for a workload.
const (
	secretPrefix = "akv2k8s-"
	dataCA       = "ca.crt"
)

// admitted is a pod that may use the protocol, with its Secret and client certificate.
type admitted struct {
	pod         *corev1.Pod
	secret      *corev1.Secret
	certificate *x509.Certificate
}

// issued checks that 1.8 issued the client certificate. If the CA of 1.8 no longer exists, it can check only the form.
func (left *heritage) issued(cert *x509.Certificate, now time.Time) error {
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) || cert.IsCA ||
		!slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
		return fault.New(fault.Denied, "the client certificate is not one that akv2k8s 1.8 issued, or it has expired")
	}
	if left.ca != nil && cert.CheckSignatureFrom(left.ca) != nil {
		return fault.New(fault.Denied, "the client certificate is not signed by the last CA of akv2k8s 1.8")
	}
	return nil
}

// admit checks that the pod may use the protocol, by objects read directly from the API server. All that it checks is
// set by the API server, except the data of the Secret, which everyone with write access to Secrets in the pod's
// namespace can change.
func (t *transition) admit(ctx context.Context, name types.NamespacedName, left *heritage) (admitted, error) {
	if err := t.enabled(ctx, name.Namespace); err != nil {
		return admitted{}, err
	}
	var pod corev1.Pod
	if err := t.Live.Get(ctx, name, &pod); err != nil {
		return admitted{}, unread(err, "the pod")
	}
	secret, err := injected(&pod, left.before)
	if err == nil {
		var who admitted
		if who, err = t.secret(ctx, types.NamespacedName{Namespace: pod.Namespace, Name: secret}, left); err == nil {
			who.pod = &pod
			return who, nil
		}
	}
	if fault.KindOf(err) == fault.Denied {
		t.tell(&pod, advice)
	}
	return admitted{}, err
}

// enabled returns fault.Denied if pods of the namespace may not have the installation's token.
func (t *transition) enabled(ctx context.Context, name string) error {
	namespace := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
	if err := t.Live.Get(ctx, types.NamespacedName{Name: name}, namespace); err != nil {
		return unread(err, "the namespace")
	}
	if namespace.Labels[t.Label] != t.LabelValue {
		return fault.New(fault.Denied, "injection is not enabled in the namespace")
	}
	if t.Reserved != nil && t.Reserved(name) {
		return fault.New(fault.Denied,
			"the namespace has its own identity for vaults, so its pods do not get the installation's token")
	}
	return nil
}

// injected returns the name of the Secret that 1.8 mounted into the pod. It returns fault.Denied if 1.8 did not inject
// the pod before the upgrade, or if the pod has ended.
func injected(pod *corev1.Pod, before time.Time) (string, error) {
	i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == volume && v.Secret != nil })
	switch {
	case i < 0:
		return "", fault.New(fault.Denied, "the pod has no volume %q of a Secret", volume)
	case !strings.HasPrefix(pod.Spec.Volumes[i].Secret.SecretName, secretPrefix):
		return "", fault.New(fault.Denied, "the Secret of the pod's volume %q is not one that akv2k8s 1.8 created",
			volume)
	case !wrapped(pod):
		return "", fault.New(fault.Denied, "the pod has no container that akv2k8s 1.8 wrapped")
	case !pod.CreationTimestamp.Time.Before(before):
		return "", fault.New(fault.Denied, "the pod is younger than the upgrade")
	case pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded ||
		pod.Status.Phase == corev1.PodFailed:
		return "", fault.New(fault.Denied, "the pod has ended; its containers cannot start again")
	}
	return pod.Spec.Volumes[i].Secret.SecretName, nil
}

// wrapped reports whether the pod has the init container of 1.8 and a container that runs the wrapper.
func wrapped(pod *corev1.Pod) bool {
	wraps := func(c corev1.Container) bool { return len(c.Command) > 0 && c.Command[0] == wire.InjectorPath }
	return slices.ContainsFunc(pod.Spec.InitContainers,
		func(c corev1.Container) bool { return c.Name == wire.InitContainer }) &&
		slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), wraps)
}

// secret reads the pod's Secret. It must be older than the upgrade and have the form that 1.8 gave it.
func (t *transition) secret(ctx context.Context, name types.NamespacedName, left *heritage) (admitted, error) {
	var secret corev1.Secret
	if err := t.Live.Get(ctx, name, &secret); err != nil {
		return admitted{}, unread(err, "the pod's Secret")
	}
	ca, hasCA := secret.Data[dataCA]
	cert := secret.Data[corev1.TLSCertKey]
	if max(len(ca), len(cert)) > limits.LegacyCertificateBytes { // before parsing it
		return admitted{}, fault.New(fault.Denied, "the pod's Secret does not look like one that akv2k8s 1.8 created")
	}
	certs := certificates(cert)
	switch {
	case secret.Type != corev1.SecretTypeTLS || len(secret.Data) != 3 || !hasCA || len(certs) != 1:
		return admitted{}, fault.New(fault.Denied, "the pod's Secret does not look like one that akv2k8s 1.8 created")
	case !secret.CreationTimestamp.Time.Before(left.before):
		return admitted{}, fault.New(fault.Denied, "the pod's Secret is younger than the upgrade")
	}
	if err := left.issued(certs[0], t.Clock()); err != nil {
		return admitted{}, err
	}
	return admitted{secret: &secret, certificate: certs[0]}, nil
}

// entrust makes sure that the pod's Secret has a CA that verifies our serving certificate. It reports whether it wrote
// the CA.
func (t *transition) entrust(ctx context.Context, name types.NamespacedName, asked string) (written bool, err error) {
	written, err = t.tryToEntrust(ctx, name, asked)
	if apierrors.IsConflict(err) { // another pod of the workload wrote it first
		_, err = t.tryToEntrust(ctx, name, asked)
		return true, err
	}
	return written, err
}

// tryToEntrust is one attempt without retry. It accepts only the Secret that the pod's volume names.
func (t *transition) tryToEntrust(ctx context.Context, name types.NamespacedName, asked string) (written bool,
	err error) {
	left := t.heritage.Load()
	if left == nil || len(t.trusted(left)) == 0 {
		return false, unknown()
	}
	who, err := t.admit(ctx, name, left)
	if err != nil {
		return false, err
	}
	if who.secret.Name != asked {
		return false, fault.New(fault.Denied, "the pod's volume names Secret %q, not the requested one",
			who.secret.Name)
	}
	t.tell(who.pod, served)
	if t.believes(who.secret.Data[dataCA], left) {
		return false, nil
	}
	return true, t.write(ctx, who.secret, t.trusted(left))
}

// write patches only the data key of the CA, and only if the Secret has not changed since it was read.
func (t *transition) write(ctx context.Context, secret *corev1.Secret, ca []byte) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]string{"resourceVersion": secret.ResourceVersion},
		"data": map[string][]byte{dataCA: ca}})
	if err != nil {
		return fault.Wrap(fault.Bug, err, "encoding the patch")
	}
	err = t.Writer.Patch(ctx, secret.DeepCopy(), client.RawPatch(types.MergePatchType, patch))
	switch {
	case err == nil:
		t.Log.Info("wrote the CA into the Secret of a pod of akv2k8s 1.8", "namespace", secret.Namespace, "secret",
			secret.Name)
		return nil
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsNotFound(err):
		return fault.Wrap(fault.Denied, err, "writing the CA into the pod's Secret")
	}
	return fault.Wrap(fault.Unavailable, err, "writing the CA into the pod's Secret")
}

// unread classifies an error of reading: fault.Denied if the object does not exist or may not be read, else
// fault.Unavailable.
func unread(err error, what string) error {
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return fault.Wrap(fault.Denied, err, "reading "+what)
	}
	return fault.Wrap(fault.Unavailable, err, "reading "+what)
}
