package chart

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheDefinitionIsKeptByAJobOfItsOwn(t *testing.T) {
	const job = "Job/akv2k8s-crds-3-0-0"
	all := render(t)
	assert.Equal(t, map[string][]string{"ClusterRoleBinding": {"customresourcedefinitions[azurekeyvaultsecrets.spv.no] get create patch"}}, rules(t, all, "akv2k8s-crds"))
	for _, name := range []string{job, "ServiceAccount/akv2k8s-crds", "ClusterRole/akv2k8s-crds-akv2k8s", "ClusterRoleBinding/akv2k8s-crds-akv2k8s"} {
		require.Contains(t, all, name)
		assert.Equal(t, "pre-install,pre-upgrade", all[name].GetAnnotations()["helm.sh/hook"], name)
		assert.Contains(t, all[name].GetAnnotations()["helm.sh/hook-delete-policy"], "before-hook-creation", name)
	}
	assert.Equal(t, int64(600), all.at(t, job, "spec", "ttlSecondsAfterFinished"))
	pod := all.at(t, job, "spec", "template", "spec").(map[string]any)
	assert.Equal(t, map[string]any{"runAsUser": int64(65532), "runAsGroup": int64(65532), "runAsNonRoot": true, "seccompProfile": map[string]any{"type": "RuntimeDefault"}}, pod["securityContext"])
	assert.NotContains(t, pod, "volumes")
	assert.Equal(t, "ghcr.io/akv2k8s/controller:2.0.0", all.at(t, job, "spec", "template", "spec", "containers", "image"))
	for _, off := range []string{"crds.upgrade=false", "global.rbac.create=false"} {
		for name := range render(t, off) {
			assert.NotContains(t, name, "-crds", off)
		}
	}
}

// customCertificate are the values of a certificate, each as base64 of its own name.
func customCertificate() []string {
	const prefix = "env_injector.certificate.custom."
	return []string{prefix + "enabled=true", prefix + "server.tls.crt=LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tClkzSjAKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=", prefix + "server.tls.key=LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmEyVjUKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=", prefix + "ca.crt=LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tClkyRT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="}
}

func TestTheCertificateOfTheWebhookComesInThreeWays(t *testing.T) {
	for name, c := range map[string]struct {
		set                []string
		secret, annotation string
		bundle             any
	}{
		"our own CA":       {nil, "", "akv2k8s.io/ca", nil},
		"cert-manager":     {[]string{"env_injector.certificate.useCertManager=true"}, "akv2k8s-envinjector-tls-cm", "cert-manager.io/inject-ca-from", nil},
		"one of one's own": {customCertificate(), "akv2k8s-envinjector-tls", "akv2k8s.io/ca", "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tClkyRT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="},
	} {
		t.Run(name, func(t *testing.T) {
			all := render(t, append(c.set, "global.keyVaultAuth=environment")...)
			args := all.at(t, injectorDeployment, "spec", "template", "spec", "containers", "args")
			annotations := all[webhook].GetAnnotations()
			client := all.at(t, webhook, "webhooks", "clientConfig").(map[string]any)
			assert.Equal(t, c.bundle, client["caBundle"])
			assert.Contains(t, all, "Secret/akv2k8s-envinjector-serving", "the auth service has the installation's own CA always")
			if c.secret == "" {
				assert.NotContains(t, args, "--webhook-certificates=/etc/akv2k8s/webhook")
				assert.Equal(t, "env-injector", annotations[c.annotation])
				return
			}
			assert.Contains(t, args, "--webhook-certificates=/etc/akv2k8s/webhook")
			assert.Contains(t, annotations, c.annotation)
			assert.NotEqual(t, "env-injector", annotations["akv2k8s.io/ca"], "it leaves the CA as it is")
			assert.Equal(t, c.secret, all.at(t, injectorDeployment, "spec", "template", "spec", "volumes", "secret", "secretName"))
			assert.Equal(t, "/etc/akv2k8s/webhook", all.at(t, injectorDeployment, "spec", "template", "spec", "containers", "volumeMounts", "mountPath"))
		})
	}
	cert := render(t, "env_injector.certificate.useCertManager=true")
	assert.Equal(t, "akv2k8s/akv2k8s-envinjector-tls-cm", cert[webhook].GetAnnotations()["cert-manager.io/inject-ca-from"])
	assert.Contains(t, cert.at(t, "Certificate/akv2k8s-envinjector-tls-cm", "spec", "dnsNames"), "akv2k8s-envinjector.akv2k8s.svc")
	assert.Equal(t, "akv2k8s-envinjector-ca", cert.at(t, "Certificate/akv2k8s-envinjector-tls-cm", "spec", "issuerRef", "name"))
	assert.Equal(t, true, cert.at(t, "Certificate/akv2k8s-envinjector-ca-cm", "spec", "isCA"))
	assert.Equal(t, "akv2k8s-envinjector-ca-cm", cert.at(t, "Issuer/akv2k8s-envinjector-ca", "spec", "ca", "secretName"))
	custom := render(t, customCertificate()...)
	assert.Equal(t, map[string]any{"tls.crt": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tClkzSjAKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=", "tls.key": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmEyVjUKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="}, custom.at(t, "Secret/akv2k8s-envinjector-tls", "data"))
}

func TestWhatV1LeftIsMigratedByAJobOfItsOwn(t *testing.T) {
	const job = "Job/akv2k8s-envinjector-inherit-3-0-0"
	all := render(t)
	assert.Equal(t, map[string][]string{"RoleBinding": {"secrets[akv2k8s-envinjector-ca] get patch", "secrets[akv2k8s-envinjector-serving-predecessor] create patch", "secrets[akv2k8s-envinjector-serving] get",
		"secrets[akv2k8s-envinjector-tls] get patch"}},
		rules(t, all, "akv2k8s-envinjector-inherit"))
	for _, name := range []string{job, "ServiceAccount/akv2k8s-envinjector-inherit", "Role/akv2k8s-envinjector-inherit", "RoleBinding/akv2k8s-envinjector-inherit"} {
		require.Contains(t, all, name)
		assert.Equal(t, "pre-upgrade", all[name].GetAnnotations()["helm.sh/hook"], name)
	}
	pod := all.at(t, job, "spec", "template", "spec").(map[string]any)
	assert.Equal(t, true, pod["securityContext"].(map[string]any)["runAsNonRoot"])
	args := func(all objects) any { return all.at(t, job, "spec", "template", "spec", "containers", "args") }
	assert.Contains(t, args(all), "--from=akv2k8s-envinjector-tls")
	assert.NotContains(t, args(render(t, customCertificate()...)), "--from=akv2k8s-envinjector-tls", "this release has that Secret itself")
	for _, off := range []string{"env_injector.inherit.enabled=false", "env_injector.enabled=false", "global.rbac.create=false"} {
		for name := range render(t, off) {
			assert.NotContains(t, name, "-inherit", off)
		}
	}
}

func TestNoBindingOfAkv2k8s18IsLedToAnotherRole(t *testing.T) {
	old := map[string]string{"akv2k8s-envinjector-sa": "akv2k8s-envinjector", "akv2k8s-envinjector-reader": "akv2k8s-envinjector-reader", "akv2k8s-controller": "akv2k8s-controller"}
	for name, object := range render(t) {
		if object.GetKind() == "ClusterRoleBinding" && old[object.GetName()] != "" {
			assert.Equal(t, old[object.GetName()], render(t).at(t, name, "roleRef", "name"), "%s: Kubernetes refuses it, and so would helm upgrade", name)
		}
	}
}

func TestTheInitContainerTakesItsSettings(t *testing.T) {
	args := render(t, "env_injector.initContainer.resources.requests.cpu=9m", "env_injector.initContainer.securityContext.runAsUser=3000").
		at(t, injectorDeployment, "spec", "template", "spec", "containers", "args")
	assert.Contains(t, args, `--init-container={"resources":{"requests":{"cpu":"9m"}},"securityContext":{"readOnlyRootFilesystem":null,"runAsGroup":null,"runAsUser":3000}}`)
}
