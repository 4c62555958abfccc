// Package statushash computes the keyed hashes of output data in the status of resources, and manages the
// installation's key for them.
//
// Floor 3. The rest of the status belongs in controller.
package statushash
