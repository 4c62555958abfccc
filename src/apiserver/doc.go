// Package apiserver finds the addresses of the API server of the cluster.
//
// Floor 3. Which requests are denied or exempt because of an address belongs in webhook/ociimage and iplimit.
package apiserver
