// Package rights declares the RBAC rules of each role in the chart: what a rule allows, which code needs it, and why.
// The chart's rules and docs/security/rbac.md are generated from it (make generate). Floor 1.
//
// Role bindings, and whether a role is rendered at all, belong in the chart's templates.
package rights
