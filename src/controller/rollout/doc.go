// Package rollout restarts workloads whose pods use a changed output. Like kubectl rollout restart, it only writes one
// annotation into the pod template.
//
// Floor 3. The decision when to restart, and for which change, belongs in controller.
package rollout
