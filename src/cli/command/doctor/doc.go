// Package doctor is the subcommand doctor: it runs the checks of package doctor/checks and writes their report.
//
// Floor 6. Checks belong below src/doctor.
package doctor
