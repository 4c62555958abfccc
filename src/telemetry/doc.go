// Package telemetry provides the log of a long-running program, and its health checks and metrics over HTTP.
//
// Floor 3. What is counted and logged belongs in the packages that do the work.
package telemetry
