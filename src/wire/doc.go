// Package wire defines the contract between processes: names of labels, annotations, environment variables, volumes and
// paths, and the messages between the injector and the broker. Each comment names the writer and the reader.
//
// Floor 0, standard library only. No behaviour belongs here.
package wire
