// Package bench measures the product on a real cluster and prints the figures. Counts, sizes and ratios are budgets
// that fail the run; times are printed, and fail only far beyond their goal, since machines differ.
//
// It needs a cluster, so it is built with the tag cluster: make bench, and make scale for what happens in a large
// installation.
package bench
