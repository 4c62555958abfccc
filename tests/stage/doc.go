// Package stage sets up what the demo and the tests on a cluster play on: the cluster, the emulator of Azure in it, and
// the product as users install it. Whatever is there already stays.
package stage
