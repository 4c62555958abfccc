// Package injector runs in the pod: it reads the environment, has the references resolved in one request, and becomes
// the program.
//
// Floor 4. Linked into every pod: no k8s.io, no controller-runtime. What it asks belongs in broker/client, and what
// needs Azure's SDK in the main package of the program that links it: pods whose containers all ask the auth service
// get one without.
package injector
