// Package sbom says what the shipped programs are made of: their Go modules, the licences of these, and an SPDX
// document for each image.
package sbom
