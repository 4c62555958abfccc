// Package logkey has the keys of structured log lines, so that one thing has one key in all programs.
//
// Floor 0. A key is added here before a log line uses it; tests/arch checks that no log line spells a key itself.
package logkey
