// Package webhook is the mutating admission webhook for pods: it decodes an AdmissionReview, reads what the decision
// needs from the API server and from registries, and answers with a JSON patch. It writes nothing to the API server.
//
// Floor 4. The decision and the mutation belong in webhook/inject.
package webhook
