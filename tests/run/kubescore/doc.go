// Package kubescore has kube-score look at what the chart renders, with the exceptions that have a reason.
package kubescore
