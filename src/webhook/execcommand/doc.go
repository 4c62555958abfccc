// Package execcommand has the commands that the kubelet runs in a container in addition to its program: exec probes and
// lifecycle hooks. It is small because inject, which uses it, would be too large with it.
//
// Floor 1, pure. The decision whether they get values belongs in inject.
package execcommand
