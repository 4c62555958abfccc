// Package transform changes a value by name: trim, base64encode, base64decode.
//
// Floor 1, pure. Which values are transformed belongs in recipe/decode.
package transform
