// Package rollout restarts workloads whose pods use a changed output, or refer to a changed value. Like kubectl rollout
// restart, it only writes one annotation into the pod template, or the restart time of an Argo Rollout. It limits the
// restarts that go on at the same time.
//
// Floor 3. The decision when to restart, and for which change, belongs in controller.
package rollout
