// Package store puts outputs into the cluster and takes them out again: what others have in them is decided here, and
// never overwritten.
//
// Floor 3. What an output should be belongs in controller/output, when it is written in controller.
package store
