//go:build tools

// Package kubelet pins the older kubelet of the mixed cluster.
package kubelet

import _ "k8s.io/kubernetes/cmd/kubelet"
