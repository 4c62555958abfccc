package authservice

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
	"github.com/akv2k8s/akv2k8s/src/logkey"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Name prefix and data key of the Secret that 1.8 created for a workload.
const (
	v1SecretPrefix = "akv2k8s-"
	caDataKey      = "ca.crt"
)

// admittedPod is a pod that may use the protocol, with its Secret and client certificate.
type admittedPod struct {
	pod         *corev1.Pod
	secret      *corev1.Secret
	certificate *x509.Certificate
}

// checkClientCertificate checks that 1.8 issued the client certificate. If the CA of 1.8 no longer exists, it can check
// only the form.
func (left *v1State) checkClientCertificate(cert *x509.Certificate, now time.Time) error {
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) || cert.IsCA ||
		!slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
		return fault.New(fault.Denied, "the client certificate is not one that akv2k8s 1.8 issued, or it has expired")
	}
	if left.ca != nil && cert.CheckSignatureFrom(left.ca) != nil {
		return fault.New(fault.Denied, "the client certificate is not signed by the last CA of akv2k8s 1.8")
	}
	return nil
}

// admitPod checks that the pod may use the protocol, by objects read directly from the API server. All that it checks
// is set by the API server, except the data of the Secret, which everyone with write access to Secrets in the pod's
// namespace can change.
func (t *protocolServer) admitPod(ctx context.Context, name types.NamespacedName, left *v1State) (admittedPod, error) {
	if err := t.requireNamespaceEnabled(ctx, name.Namespace); err != nil {
		return admittedPod{}, err
	}
	var pod corev1.Pod
	if err := t.Live.Get(ctx, name, &pod); err != nil {
		return admittedPod{}, readError(err, "the pod")
	}
	secret, err := v1SecretNameOf(&pod, left.createdBefore)
	if err == nil {
		var who admittedPod
		if who, err = t.readPodSecret(ctx, types.NamespacedName{Namespace: pod.Namespace, Name: secret},
			left); err == nil {
			who.pod = &pod
			return who, nil
		}
	}
	if fault.KindOf(err) == fault.Denied {
		t.reportV1Pod(&pod, recreateMessage)
	}
	return admittedPod{}, err
}

// requireNamespaceEnabled returns fault.Denied if pods of the namespace may not have the installation's token.
func (t *protocolServer) requireNamespaceEnabled(ctx context.Context, name string) error {
	namespace := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
	if err := t.Live.Get(ctx, types.NamespacedName{Name: name}, namespace); err != nil {
		return readError(err, "the namespace")
	}
	if namespace.Labels[t.NamespaceLabel] != t.NamespaceLabelValue {
		return fault.New(fault.Denied, "injection is not enabled in the namespace")
	}
	if t.HasOwnIdentity != nil && t.HasOwnIdentity(name) {
		return fault.New(fault.Denied,
			"the namespace has its own identity for vaults, so its pods do not get the installation's token")
	}
	return nil
}

// v1SecretNameOf returns the name of the Secret that 1.8 mounted into the pod. It returns fault.Denied if 1.8 did not
// inject the pod before the upgrade, or if the pod has ended.
func v1SecretNameOf(pod *corev1.Pod, before time.Time) (string, error) {
	i := slices.IndexFunc(pod.Spec.Volumes,
		func(v corev1.Volume) bool { return v.Name == clientCertVolume && v.Secret != nil })
	switch {
	case i < 0:
		return "", fault.New(fault.Denied, "the pod has no volume %q of a Secret", clientCertVolume)
	case !strings.HasPrefix(pod.Spec.Volumes[i].Secret.SecretName, v1SecretPrefix):
		return "", fault.New(fault.Denied, "the Secret of the pod's volume %q is not one that akv2k8s 1.8 created",
			clientCertVolume)
	case !isWrappedByV1(pod):
		return "", fault.New(fault.Denied, "the pod has no container that akv2k8s 1.8 wrapped")
	case !pod.CreationTimestamp.Time.Before(before):
		return "", fault.New(fault.Denied, "the pod is younger than the upgrade")
	case pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded ||
		pod.Status.Phase == corev1.PodFailed:
		return "", fault.New(fault.Denied, "the pod has ended; its containers cannot start again")
	}
	return pod.Spec.Volumes[i].Secret.SecretName, nil
}

// isWrappedByV1 reports whether the pod has the init container of 1.8 and a container that runs the wrapper.
func isWrappedByV1(pod *corev1.Pod) bool {
	wraps := func(c corev1.Container) bool { return len(c.Command) > 0 && c.Command[0] == wire.InjectorPath }
	return slices.ContainsFunc(pod.Spec.InitContainers,
		func(c corev1.Container) bool { return c.Name == wire.InitContainer }) &&
		slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), wraps)
}

// readPodSecret reads the pod's Secret. It must be older than the upgrade and have the form that 1.8 gave it.
func (t *protocolServer) readPodSecret(ctx context.Context, name types.NamespacedName, left *v1State) (admittedPod,
	error) {
	var secret corev1.Secret
	if err := t.Live.Get(ctx, name, &secret); err != nil {
		return admittedPod{}, readError(err, "the pod's Secret")
	}
	ca, hasCA := secret.Data[caDataKey]
	cert := secret.Data[corev1.TLSCertKey]
	if max(len(ca), len(cert)) > limits.V1CertificateBytes { // before parsing it
		return admittedPod{}, fault.New(fault.Denied,
			"the pod's Secret does not look like one that akv2k8s 1.8 created")
	}
	certs := parseCertificates(cert)
	switch {
	case secret.Type != corev1.SecretTypeTLS || len(secret.Data) != 3 || !hasCA || len(certs) != 1:
		return admittedPod{}, fault.New(fault.Denied,
			"the pod's Secret does not look like one that akv2k8s 1.8 created")
	case !secret.CreationTimestamp.Time.Before(left.createdBefore):
		return admittedPod{}, fault.New(fault.Denied, "the pod's Secret is younger than the upgrade")
	}
	if err := left.checkClientCertificate(certs[0], t.Clock()); err != nil {
		return admittedPod{}, err
	}
	return admittedPod{secret: &secret, certificate: certs[0]}, nil
}

// ensurePodTrustsCA makes sure that the pod's Secret has a CA that verifies our serving certificate. It reports whether
// it wrote the CA.
func (t *protocolServer) ensurePodTrustsCA(ctx context.Context, name types.NamespacedName, asked string) (written bool,
	err error) {
	written, err = t.tryEnsurePodTrustsCA(ctx, name, asked)
	if apierrors.IsConflict(err) { // another pod of the workload wrote it first
		_, err = t.tryEnsurePodTrustsCA(ctx, name, asked)
		return true, err
	}
	return written, err
}

// tryEnsurePodTrustsCA is one attempt without retry. It accepts only the Secret that the pod's volume names.
func (t *protocolServer) tryEnsurePodTrustsCA(ctx context.Context, name types.NamespacedName,
	asked string) (written bool,
	err error) {
	left := t.state.Load()
	if left == nil || len(t.trustedCAs(left)) == 0 {
		return false, stateUnknownError()
	}
	who, err := t.admitPod(ctx, name, left)
	if err != nil {
		return false, err
	}
	if who.secret.Name != asked {
		return false, fault.New(fault.Denied, "the pod's volume names Secret %q, not the requested one",
			who.secret.Name)
	}
	t.reportV1Pod(who.pod, servedMessage)
	if t.trustsServingCA(who.secret.Data[caDataKey], left) {
		return false, nil
	}
	return true, t.patchPodSecretCA(ctx, who.secret, t.trustedCAs(left))
}

// patchPodSecretCA patches only the data key of the CA, and only if the Secret has not changed since it was read.
func (t *protocolServer) patchPodSecretCA(ctx context.Context, secret *corev1.Secret, ca []byte) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]string{"resourceVersion": secret.ResourceVersion},
		"data": map[string][]byte{caDataKey: ca}})
	if err != nil {
		return fault.Wrap(fault.Bug, err, "encoding the patch")
	}
	err = t.Writer.Patch(ctx, secret.DeepCopy(), client.RawPatch(types.MergePatchType, patch))
	switch {
	case err == nil:
		t.Log.Info("wrote the CA into the Secret of a pod of akv2k8s 1.8", logkey.Namespace, secret.Namespace,
			logkey.Secret, secret.Name)
		return nil
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsNotFound(err):
		return fault.Wrap(fault.Denied, err, "writing the CA into the pod's Secret")
	}
	return fault.Wrap(fault.Unavailable, err, "writing the CA into the pod's Secret")
}

// readError classifies an error of reading: fault.Denied if the object does not exist or may not be read, else
// fault.Unavailable.
func readError(err error, what string) error {
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return fault.Wrap(fault.Denied, err, "reading "+what)
	}
	return fault.Wrap(fault.Unavailable, err, "reading "+what)
}
