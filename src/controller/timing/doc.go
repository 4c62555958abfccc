// Package timing says when a resource is looked at again: at its own moment of the interval, later after failures, and
// not all in one moment.
//
// Floor 1, pure. What is done then belongs in controller.
package timing
