//go:build tools

// Package tools pins kube-score.
package tools

import _ "github.com/zegl/kube-score/cmd/kube-score"
