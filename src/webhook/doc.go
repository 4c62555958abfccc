// Package webhook answers the API server's question about a new pod: decode, decide, mutate, answer. It writes nothing.
//
// Floor 4. What is decided belongs in webhook/inject.
package webhook
