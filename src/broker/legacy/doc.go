// Package legacy answers pods that the predecessor injected, when one of their containers starts again and asks as it
// did then. Unless a Transition is configured, the answer is that the pod has to be made anew, and nothing secret is
// known here. With one, the predecessor's protocol is served as it was, to pods that it injected itself.
//
// Floor 3. How pods of our own are answered belongs in package broker.
package legacy
