// Package cluster is what the checks of package doctor read from the API server: lists within limits, the rights of the
// user, and the installations of akv2k8s. Each list is read once for all checks.
//
// Floor 3. It calls with the rights of the user who runs kubectl akv2k8s doctor, so src/rights has no rule for it. What
// is wrong with an object belongs in the packages of checks.
package cluster
