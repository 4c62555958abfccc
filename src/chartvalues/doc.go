// Package chartvalues is the tree of values that the chart takes: its types are the source of the JSON schemas, and the
// comments of values.yaml, which it reads, that of every description. Floor 1. What a value does belongs into the
// chart's templates, rules across values into its _validate.tpl.
package chartvalues
