// Package render renders the chart with each example, each command of the documentation, and values that have to be
// refused.
package render
