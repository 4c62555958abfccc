// Package refusal says why the API server refused a request about an object with secret data, in words that can't hold
// the data.
//
// Floor 1. The text of such an answer is never passed on: an admission webhook or policy may quote the object in any
// encoding. What a refusal means for a resource belongs in the caller.
package refusal
