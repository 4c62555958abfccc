// Package bed is the cluster that tests and the demo run on, whichever kind it is: local (built from source on this
// machine), kind (where docker is), or current (whatever KUBECONFIG names).
package bed
