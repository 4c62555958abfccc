// Package host owns everything that a local cluster has on the machine itself: a holder process with private network
// and mount namespaces, processes inside them, a link to the host, cgroups. All of it carries the cluster's id and can
// be found again by it after a crash.
package host
