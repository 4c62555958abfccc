// Package arch checks the plan of the house: which room may import which, what is banned where, and the budgets that
// keep the code readable. A change of plan is a change of this package.
package arch
