// Package walk follows the READMEs of examples on a stage: it runs their commands, compares what they print, and
// checks that nothing is left after the section Remove.
//
// These programs are not the reader's own, and nothing else differs:
//
//   - az is package azurecli, which changes the emulator.
//   - helm adds a file of values before those of the README: the emulator's CA and the names of images.
//   - sleep never waits longer than a second.
//   - kubectl is that of the cluster; its kubeconfig is the cluster's.
package walk
