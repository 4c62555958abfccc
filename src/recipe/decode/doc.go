// Package decode converts vault objects to the data of Secrets and ConfigMaps and to the values of environment
// variables, as a Recipe specifies. The controller, the broker and the injector share it, so a Secret and a variable of
// the same resource can't differ. objectTypes is the registry of the types of vault object; each has a file. See
// docs/contributing/recipes.md.
//
// Floor 2, pure. Errors never quote a value. Parsing certificates belongs in certificate.
package decode
