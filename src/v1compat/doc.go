// Package v1compat has no code: the folders below it have all code that exists for akv2k8s 1.8 alone. The build tag
// nov1compat builds the programs without it, and tests/arch lists the files that may use it. To remove the support for
// 1.8, delete this folder, these files, and the files with the tag, which then need no tag and can be inlined.
//
// Three things stay elsewhere. The chart has values for 1.8 and accepts those of chart 2.8. src/limits and src/rights
// list every limit and every right, those for 1.8 in v1compat.go. src/controller takes over outputs that 1.8 wrote,
// because their field manager is part of each decision about the owner of a key.
//
// Floor 3. What a user of 1.8 and a user of this version both use, such as names of metrics, belongs to its package.
package v1compat
