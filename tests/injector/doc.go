// Package injector runs the real injector by scripts: what a user would see in a container.
package injector
