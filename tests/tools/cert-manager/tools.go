//go:build tools

// Package tools pins cert-manager, whose own definitions the suite upgrade applies; its programs run in no test.
package tools

import _ "github.com/cert-manager/cert-manager/pkg/apis/certmanager"
