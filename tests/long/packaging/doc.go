// Package packaging installs the chart by the programs that its users and reviewers know: chart-testing and Helm.
package packaging
