// Package doctor is the frame of kubectl akv2k8s doctor: findings, checks, their run within limits of time and number,
// and the report. A check is a name and a function; package doctor/checks has the registry.
//
// Floor 1, pure. What a check reads belongs in the packages below this one, and the command line in cli.
package doctor
