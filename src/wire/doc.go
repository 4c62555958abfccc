// Package wire holds what two processes agree on: names of labels, annotations, environment variables, volumes and
// paths, and the messages between the injector and the broker. Each comment says who writes and who reads.
//
// Floor 0, standard library only. No behaviour belongs here.
package wire
