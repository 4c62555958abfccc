// Package quiz plants one fault after the other in a cluster with the product, and has kubectl akv2k8s doctor and
// explain name the cause. Each command has ten seconds, must name the planted cause first, and must say nothing wrong
// about anything else. A healthy installation must give no warning. The test prints the score, and fails below 100 %.
//
// It needs a cluster, so it is built with the tag cluster: make long SUITE=quiz.
package quiz
