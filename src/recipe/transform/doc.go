// Package transform implements the named transforms of a value: trim, base64encode and base64decode.
//
// Floor 1, pure. The choice of the values to transform belongs in recipe/decode.
package transform
