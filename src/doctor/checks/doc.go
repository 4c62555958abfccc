// Package checks is the registry of the checks of kubectl akv2k8s doctor: a line for each check, in the order of the
// report.
//
// Floor 5. The checks are in the packages next to this one.
package checks
