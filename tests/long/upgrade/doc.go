// Package upgrade installs what came before, and upgrades it: a CustomResourceDefinition that is older, and a release
// of chart 2.8. What of that release an upgrade sees is written from docs/reference/compatibility.md in testdata; its
// programs are stand-ins.
//
// It needs a cluster, so it is built with the tag cluster: make long SUITE=upgrade.
package upgrade
