// Package injector runs in the pod: it reads the environment, has the references resolved in one request, and becomes the program.
//
// Floor 4. Linked into every pod: no k8s.io, no controller-runtime. What it asks belongs in broker/client.
package injector
