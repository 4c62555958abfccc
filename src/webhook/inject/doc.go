// Package inject decides what a pod needs so that its references become values, and makes that pod: pod in, pod out,
// and doing it twice gives what doing it once gives.
//
// Floor 2, pure. Looking things up (images, ConfigMaps, certificates) belongs in webhook, names of what is added in
// wire.
package inject
