// Package headlamp tests the plugin of Headlamp: its own tests and its build, and the built plugin in a browser, with
// the parts of Headlamp's frontend that its kit has, on a cluster with the product.
//
// It runs by name only: make long SUITE=headlamp.
package headlamp
