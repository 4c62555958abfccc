//go:build nov1compat

package image

import "context"

// v1Images are none: without package v1compat there is no wrapper of akv2k8s 1.8.
func (Maker) v1Images(context.Context, Spec, string) ([]Spec, error) { return nil, nil }
