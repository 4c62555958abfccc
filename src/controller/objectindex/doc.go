// Package objectindex maps vault objects to the resources that read them.
//
// Floor 1, pure. The reaction to a changed object belongs in controller.
package objectindex
