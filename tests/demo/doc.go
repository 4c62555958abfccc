// Command demo shows the product on a cluster without Azure: what users would install, synced and injected, in plain
// lines.
package main
