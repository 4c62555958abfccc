// Package rule says which namespace may read which vault through the installation, and as whom.
//
// Floor 1, pure. Whoever reads a vault for a namespace asks it first.
package rule
