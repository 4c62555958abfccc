// Package fingerprint makes the keyed hashes that statuses show of outputs, and keeps the installation's key for them.
//
// Floor 3. What a status says else belongs in controller.
package fingerprint
