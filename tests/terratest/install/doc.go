// Package install installs the chart on the cluster that KUBECONFIG names, on top of what users of akv2k8s 1.8 have, by
// the Helm that PATH leads to. The cluster needs the images of the product, stand-ins of those of 1.8, and an emulated
// vault:
//
//	VALUES  file of values that the cluster needs, such as the emulator's certificate authority
//	VAULT   name of a vault whose secret "db" the installation may read
//	WANTED  the value of that secret
//
// The suite packaging of the repository provides all of it.
package install
