// Package chartvalues declares the values of the chart as Go types. It generates the JSON schemas from these types, and
// the descriptions from the comments of values.yaml. Floor 1.
//
// Generators of JSON schemas neither read the comments of a YAML file nor refer to the definitions of Kubernetes.
//
// The effect of a value belongs in the chart's templates, checks across values in its _validate.tpl.
package chartvalues
