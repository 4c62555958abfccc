//go:build tools

// Package tools pins NMI, the part of aad-pod-identity that redirects requests for tokens; the test bed builds it.
package tools

import _ "github.com/Azure/aad-pod-identity/cmd/nmi"
