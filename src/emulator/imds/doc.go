// Package imds emulates the identity endpoint of Azure's instance metadata service.
//
// Test support: never imported by a shipping program. Compared with Azure, the metadata of the instance is limited to
// the cloud and the location, and there is no throttling.
package imds
