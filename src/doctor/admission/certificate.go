package admission

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// expiryWarning is the time before the end of a certificate from which a rotation should have taken place.
const expiryWarning = 14 * 24 * time.Hour

// Bundle checks the CA bundle of the webhook configuration: that it exists, has certificates, and is in force.
func Bundle(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: cluster.CheckBundle,
		Run: func(ctx context.Context) []doctor.Finding {
			return s.ForEach(ctx, func(i *cluster.Installation) []doctor.Finding {
				if i.Injector == nil || i.IsV1() {
					return nil
				}
				configuration, webhook, _ := readWebhook(ctx, s, i)
				if webhook == nil {
					return nil // the check of the configuration reports it
				}
				finding := checkBundle(webhook.ClientConfig.CABundle, s.Now())
				if finding == nil {
					return nil
				}
				finding.Object = "mutatingwebhookconfiguration/" + configuration.Name
				finding.Try = renewalStep(configuration)
				return []doctor.Finding{*finding}
			})
		}}
}

// renewalStep is the next step for a CA bundle that is wrong, by what writes it.
func renewalStep(c *admissionv1.MutatingWebhookConfiguration) string {
	switch c.Annotations[wire.AnnotationCASource] {
	case wire.CASourceEnvInjector:
		return "the env-injector writes it: see its log, and its rights with the checks above"
	case "values":
		return "renew the certificate in the values env_injector.certificate.custom"
	}
	return "cert-manager writes it: see the Certificate with kubectl describe, and the log of its cainjector"
}

// checkBundle returns a finding without an object and a next step, or nil if the bundle is in force.
func checkBundle(bundle []byte, now time.Time) *doctor.Finding {
	certificates := parseCertificates(bundle)
	if len(certificates) == 0 {
		return &doctor.Finding{Severity: doctor.Error, What: "its CA bundle has no certificate",
			Why: "the API server can't verify the webhook, and rejects pods with references"}
	}
	last := certificates[0]
	for _, c := range certificates {
		if c.NotAfter.After(last.NotAfter) {
			last = c
		}
	}
	switch left := last.NotAfter.Sub(now); {
	case left < 0:
		return &doctor.Finding{Severity: doctor.Error, What: "its CA expired on " + date(last.NotAfter),
			Why: "the API server rejects pods with references"}
	case last.NotBefore.After(now):
		return &doctor.Finding{Severity: doctor.Error, What: "its CA is valid from " + date(last.NotBefore),
			Why: "a clock is wrong"}
	case left < expiryWarning:
		return &doctor.Finding{Severity: doctor.Warning, What: fmt.Sprintf("its CA expires in %d hours",
			int(left.Hours())), Why: "it was not renewed in time"}
	}
	return nil
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func parseCertificates(content []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
	return all
}

// Serving checks that the CA bundle verifies the certificate that the env-injector serves. It reads the Secret of the
// certificate or of its CA, and of that the certificate alone.
func Serving(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: cluster.CheckServing,
		Run: func(ctx context.Context) []doctor.Finding {
			return s.ForEach(ctx, func(i *cluster.Installation) []doctor.Finding {
				if i.Injector == nil || i.IsV1() {
					return nil
				}
				configuration, webhook, _ := readWebhook(ctx, s, i)
				if webhook == nil {
					return nil
				}
				return checkServing(ctx, s, i, configuration)
			})
		}}
}

// servingSecret returns the Secret and the data key with the certificate, or with the CA that signs it.
func servingSecret(i *cluster.Installation, c *admissionv1.MutatingWebhookConfiguration) (name, dataKey string) {
	switch c.Annotations[wire.AnnotationCASource] {
	case wire.CASourceEnvInjector:
		return i.InjectorName() + "-serving", "ca.crt"
	case "values":
		return i.InjectorName() + "-tls", corev1.TLSCertKey
	}
	return i.InjectorName() + "-tls-cm", corev1.TLSCertKey
}

func checkServing(ctx context.Context, s *cluster.State, i *cluster.Installation,
	c *admissionv1.MutatingWebhookConfiguration) []doctor.Finding {
	name, dataKey := servingSecret(i, c)
	object := "secret/" + name
	right := doctor.Right{Verb: "get", Resource: "secrets", Name: name, Namespace: i.Namespace}
	missing, err := s.MissingRights(ctx, []doctor.Right{right})
	if err != nil {
		return []doctor.Finding{doctor.FromError("", err)}
	}
	if len(missing) > 0 {
		return []doctor.Finding{doctor.MissingRight(missing...)}
	}
	var secret corev1.Secret
	err = s.Client.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: name}, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return []doctor.Finding{{Severity: doctor.Error, Object: object, What: "it does not exist",
			Why: "the env-injector has no certificate", Try: renewalStep(c)}}
	case err != nil:
		return cluster.ReadFailure(err, right)
	}
	served := parseCertificates(secret.Data[dataKey])
	if len(served) == 0 {
		return []doctor.Finding{{Severity: doctor.Error, Object: object, What: "it has no certificate in " + dataKey,
			Why: "the env-injector can't serve", Try: renewalStep(c)}}
	}
	pool := x509.NewCertPool()
	for _, w := range c.Webhooks {
		for _, ca := range parseCertificates(w.ClientConfig.CABundle) {
			pool.AddCert(ca)
		}
	}
	options := x509.VerifyOptions{Roots: pool, CurrentTime: s.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if !served[0].IsCA {
		options.DNSName = i.InjectorName() + "." + i.Namespace + ".svc"
	}
	if _, err := served[0].Verify(options); err != nil {
		return []doctor.Finding{{Severity: doctor.Error, Object: object,
			What: "the CA bundle of the webhook does not verify its certificate: " + cluster.ShortMessage(err.Error()),
			Why:  "the API server rejects pods with references", Try: renewalStep(c),
			EffectOf: []string{cluster.CheckBundle}}}
	}
	if left := served[0].NotAfter.Sub(s.Now()); left < expiryWarning {
		return []doctor.Finding{{Severity: doctor.Warning, Object: object,
			What: fmt.Sprintf("its certificate expires in %d hours", int(left.Hours())),
			Why:  "it was not renewed in time", Try: renewalStep(c)}}
	}
	return nil
}
