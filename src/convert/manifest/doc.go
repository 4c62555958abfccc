// Package manifest reads YAML documents for a conversion, and records which of their fields are read. A field that no
// converter reads is known afterwards, so that nothing of an input is dropped without a word.
//
// Documents are kept as YAML nodes, not decoded into Go types, because messages need lines, and because a document that
// passes through must keep its text. Aliases and merge keys are expanded within limits.
//
// Floor 1: it only parses.
package manifest
