// Package azurecli stands in for az, the command line of Azure, where READMEs are tested: what az would change in
// Azure, it changes in the emulator.
//
// It knows the commands and options that the READMEs use, by their long names, and refuses every other as az does, so
// that a misspelt one fails. It checks what Azure checks and what is easily forgotten: that a group, a vault, an
// application or an identity is there before it is used, names of vaults, names of roles, and that the person has the
// right to write into a vault. As in Azure, a role is not in force at once: the first write after the person got it is
// refused.
//
// Thinner than az: one subscription, one tenant and one AKS cluster are there, output is JSON or tab-separated values,
// and only roles of vaults exist.
package azurecli
