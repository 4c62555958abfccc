// Package explain is the subcommand explain: it prints what package cli/explain finds out about pods, manifests and
// resources.
//
// Floor 6. What is read and judged belongs in cli/explain.
package explain
