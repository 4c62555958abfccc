//go:build cluster

// Package flood attacks a running installation, from pods and with the objects of a tenant, while other tenants' pods
// start and their resources sync. Each attack is a row of what was once possible; none may keep the others from their
// values.
package flood
