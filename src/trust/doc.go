// Package trust builds the pool of trusted certificate authorities: the system's, the public roots that are built into
// the program, and those that the user adds. Each source adds to the others and replaces none.
//
// Floor 3. The installation's own CA belongs in servingcert.
package trust
