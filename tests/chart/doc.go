// Package chart renders the product's chart with helm and looks at what users depend on: names, selectors, rights,
// security.
package chart
