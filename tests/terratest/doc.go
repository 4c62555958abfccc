// Package terratest is a module of its own, because terratest brings the SDKs of clouds that the product has nothing to
// do with. Its tests know the chart alone: they render and install it by the Helm that PATH leads to, as users do.
package terratest
