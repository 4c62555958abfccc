// Package redactederror describes errors of the API server without the data of the object in the request.
//
// Floor 1. The message of an API error is never passed on: an admission webhook or policy can quote the object in any
// encoding. The meaning of an error for a resource belongs in the caller.
package redactederror
