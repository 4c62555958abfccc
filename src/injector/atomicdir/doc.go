// Package atomicdir writes a set of files into a directory as the kubelet does for Secrets: a reader of the directory
// sees either all old or all new files. The files are in a new hidden directory, and one rename of the symbolic link
// "..data" switches to it.
//
// Floor 3, standard library only, because it runs in every pod with files. Where the values come from, and when they
// are written, belongs in injector.
package atomicdir
