// Package envinjector is the env-injector: it connects the webhook, the auth service for pods, the CA of both, and the
// server of health checks and metrics. Command envinjector is its command line.
//
// Floor 6. What a server does with a request belongs in packages webhook and broker.
package envinjector
