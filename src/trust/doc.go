// Package trust makes the pool of certificate authorities that the product believes: the system's, the public roots
// that are built into the program, and what the user adds. Nothing ever replaces anything.
//
// Floor 3. The installation's own authority belongs in servingcert.
package trust
