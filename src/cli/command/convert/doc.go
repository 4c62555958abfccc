// Package convert is the subcommand convert: files in, manifests and a report out.
//
// Floor 6. The conversion belongs in src/convert.
package convert
