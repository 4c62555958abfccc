package stage

import (
	"strings"

	"github.com/akv2k8s/akv2k8s/tests/cluster/azurenames"
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

// The emulator runs in the node's network, where the address of the metadata service is.
const azureManifest = `apiVersion: v1
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
      hostNetwork: true
      terminationGracePeriodSeconds: 1
      automountServiceAccountToken: false
      containers:
      - name: azure-emulator
        image: IMAGE
        imagePullPolicy: IfNotPresent
        args: [-tls-listen=:18443, -admin-listen=:18090, -imds-listen=169.254.169.254:80, -tls-cert=/tls/tls.crt, -tls-key=/tls/tls.key, -signing-key=/tls/sa.key, -tenant=TENANT]
        readinessProbe: {httpGet: {path: /healthz, port: 18090}, periodSeconds: 1}
        securityContext: {runAsUser: 0, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}
        volumeMounts: [{name: tls, mountPath: /tls}]
      volumes:
      - {name: tls, secret: {secretName: azure-emulator}}
`
