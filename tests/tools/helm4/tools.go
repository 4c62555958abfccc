//go:build tools

// Package tools pins helm 4, with which users may upgrade too.
package tools

import _ "helm.sh/helm/v4/cmd/helm"
