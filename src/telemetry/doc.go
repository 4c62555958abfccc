// Package telemetry is what a long-running program shows of itself: its log, and over HTTP its health and its metrics.
//
// Floor 3. What is counted and logged belongs in the parts themselves.
package telemetry
