// Package rollout restarts workloads whose pods use an output that changed: it writes one annotation into their pod
// template, as kubectl rollout restart does, and nothing else.
//
// Floor 3. When it is time, and what changed, is known in controller.
package rollout
