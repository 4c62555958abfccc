// Package mixednodes runs the product on a cluster whose second node has an older kubelet, which mounts no images and
// ignores env files.
//
// It needs a cluster, so it is built with the tag cluster: make long SUITE=mixed-nodes.
package mixednodes
