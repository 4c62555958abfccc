// Package fileformat encodes the values of a resource as the content of one file: as they are, as a JSON object, as a
// file of variables (dotenv), or as Java properties. It also names the formats that package certificate/keystore
// writes.
//
// Floor 1, pure, standard library only, so that the auth service, and an injector without it, can both use it.
package fileformat
