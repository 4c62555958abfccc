// Package version says which version of the product this program is.
//
// Floor 0, standard library only.
package version
