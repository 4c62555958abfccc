// Package conversion is what all source formats of package convert share: an Object is a document of the input while it
// is converted, a Resource an AzureKeyVaultSecret while it is written, Values are those of the chart, and a Finding
// says what a conversion can't do.
//
// Floor 3: it calls no cluster and reads no files.
package conversion
