// Package store writes outputs to the cluster and removes them. It detects conflicts with other owners of an object and
// never overwrites their data.
//
// Floor 3. The desired state of an output belongs in controller/output, the schedule of writes in controller.
package store
