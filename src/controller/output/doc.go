// Package output builds the Secret that an AzureKeyVaultSecret wants, and says whether the live one already is that
// Secret and whether it may be written at all.
//
// Floor 2, pure. Reading and writing belong in controller.
package output
