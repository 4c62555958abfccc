// Package delivery decides how the injector gets into a pod: in an image volume, or copied by an init container.
//
// Floor 3. It knows nodes and versions; which volume or container a decision means belongs in webhook/inject.
package delivery
