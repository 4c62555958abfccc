// Package filesync is the files container of a pod: it requests the files, writes each directory with
// injector/atomicdir and keeps them fresh. It rests nearly all of its time, in every pod with files, so it keeps
// neither values nor connections between two requests.
//
// Floor 4, standard library only. The first request, which can fail and end the container, is retried by injector, as
// for environment variables. The request itself belongs in broker/client, or in the program that reads vaults directly.
package filesync
