// Package envref parses and prints the reference that users write as the value of an environment variable:
// name@azurekeyvault?query.
//
// Floor 1, pure. What the name and the query mean belongs in recipe/decode; where references may stand, in
// webhook/inject.
package envref
