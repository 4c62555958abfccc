// Package initcontainer reads the environment variables with which users of akv2k8s 1.8 configured the init container.
//
// Floor 1. The chart value for the same settings belongs in package envinjector, the defaults in webhook/inject.
package initcontainer
