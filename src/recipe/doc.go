// Package recipe says what to fetch and what to make of it, free of API versions and of Kubernetes. It is the joint
// between what users write and what the vault holds: the controller, the broker and the injector all work from a
// Recipe.
//
// Floor 1, standard library only. Reading a resource belongs in recipe/fromapi, applying a recipe in recipe/decode.
package recipe
