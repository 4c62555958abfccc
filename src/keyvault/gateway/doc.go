// Package gateway puts the way to the vaults together from what an installation says: cloud, credential, trust,
// adapter, reader. The controller and the env-injector go through it, so that one setting means the same to both.
//
// Floor 4. Each part's own behaviour belongs in its own room.
package gateway
