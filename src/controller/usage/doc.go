// Package usage remembers which resources use which objects of vaults.
//
// Floor 1, pure. What is done when an object changes belongs in controller.
package usage
