// Package injected reads pods that the webhook has injected: which containers get values, how, and their references.
// What it reads is in the pod's spec, so no ConfigMap or Secret has to be read.
//
// Floor 2, pure. The mutation of pods belongs in webhook/inject, which is the only writer of what is read here.
package injected
