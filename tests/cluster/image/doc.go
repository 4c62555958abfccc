// Package image builds container images without docker: from static programs and a few files, the same bytes each time.
package image
