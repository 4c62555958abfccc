// Package injector is the program that starts in the containers of an injected pod. It reads the container's
// environment, resolves the references in one request, and replaces itself with the container's program.
//
// Floor 5. It runs in every injected pod, so k8s.io and controller-runtime do not belong here. Requests to the auth
// service belong in broker/client, and the files of a pod in injector/filesync. Code that needs Azure's SDK belongs in
// the main package of the program that links it: pods whose containers all use the auth service get a program without
// the SDK.
package injector
