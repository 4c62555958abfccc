// Package envref parses and prints references, which users write as the value of an environment variable:
// name@azurekeyvault?query. It also expands $(NAME) in texts by the kubelet's rules.
//
// Floor 1, pure. The meaning of the query belongs in recipe/decode. The places where references are allowed belong in
// webhook/inject.
package envref
