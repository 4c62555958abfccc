// Package rights declares what each role of the chart allows, for which of our calls, and why. The chart's rules and
// the page docs/security/rbac.md are generated from it (make generate), so a call that needs another right gets its
// Rule here. Floor 1.
//
// What does not belong: who a role is bound to, and when it is there at all. That is the chart's.
package rights
