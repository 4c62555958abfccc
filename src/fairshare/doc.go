// Package fairshare divides a bounded resource between keys, such as namespaces or addresses, so that no number of
// greedy keys keeps a modest one out: whoever holds something gets more only while at least as much stays free.
//
// Floor 1, standard library only. It is small because it is one rule, which several ports and pools share. What is
// counted, and what happens to whoever gets nothing, belongs in the packages that use it.
package fairshare
