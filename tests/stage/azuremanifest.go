package stage

import (
	"strings"

	"github.com/akv2k8s/akv2k8s/tests/cluster/azurenames"
	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
)

// azureHosts are the names in the emulator's certificate.
func azureHosts() []string {
	var hosts []string
	for _, name := range azurenames.Names() {
		if strings.HasPrefix(name, ".") {
			name = "*" + name
		}
		hosts = append(hosts, name)
	}
	return hosts
}

// azureManifest is the emulator. It runs in the node's network, where the address of the metadata service is; the node
// of a foreign cluster has no such address to give.
func (s *Stage) azureManifest(digest string) string {
	network, imds := "true", "169.254.169.254:80"
	if s.registry != "" {
		network, imds = "false", ""
	}
	return strings.NewReplacer("IMAGE", s.Image("azure-emulator"), "DIGEST", digest, "TENANT", local.TenantID,
		"NETWORK", network, "IMDS", imds).Replace(azureTemplate)
}

const azureTemplate = `apiVersion: v1
kind: Service
metadata: {name: azure-emulator}
spec:
  selector: {app: azure-emulator}
  ports:
  - {name: https, port: 443, targetPort: 18443}
  - {name: admin, port: 8090, targetPort: 18090}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: azure-emulator}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: azure-emulator}}
  template:
    metadata:
      labels: {app: azure-emulator}
      annotations: {test/image: DIGEST}
    spec:
      hostNetwork: NETWORK
      terminationGracePeriodSeconds: 1
      automountServiceAccountToken: false
      containers:
      - name: azure-emulator
        image: IMAGE
        imagePullPolicy: IfNotPresent
        args: [-tls-listen=:18443, -admin-listen=:18090, -imds-listen=IMDS, -tls-cert=/tls/tls.crt, -tls-key=/tls/tls.key, -signing-key=/tls/sa.key, -tenant=TENANT]
        readinessProbe: {httpGet: {path: /healthz, port: 18090}, periodSeconds: 1, timeoutSeconds: 5}
        resources: {requests: {cpu: 200m}} # Azure does not become slow because the node is busy
        securityContext: {runAsUser: 0, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}
        volumeMounts: [{name: tls, mountPath: /tls}]
      volumes:
      - {name: tls, secret: {secretName: azure-emulator}}
`
