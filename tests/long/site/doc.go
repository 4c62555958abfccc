// Package site builds the documentation's site and opens its pages in a browser.
//
// It takes minutes, so it is built with the tag cluster, though it needs none: make long SUITE=site.
package site
