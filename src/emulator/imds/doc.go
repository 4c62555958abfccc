// Package imds emulates the identity endpoint of Azure's instance metadata service.
//
// The garden: never imported by a shipping program. Thinner than the real one: of the instance itself only what a probe
// asks for, and no throttling.
package imds
