// Package admission has the checks of the admission webhook: its configuration, its Service and its certificates, and
// the webhooks that run after it.
//
// Floor 4. Checks in the namespaces of injected pods belong in doctor/namespaces.
package admission
