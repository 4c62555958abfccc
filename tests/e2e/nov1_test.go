//go:build cluster && nov1compat

package e2e

import "testing"

// v1Scenarios are none: the product is built without support for pods that akv2k8s 1.8 injected.
func v1Scenarios() map[string]func(*testing.T) { return nil }
