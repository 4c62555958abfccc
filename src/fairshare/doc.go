// Package fairshare divides a limited resource among keys, such as namespaces or addresses. A key that holds units gets
// more only while as many stay free, so greedy keys cannot starve a modest one.
//
// Floor 1, standard library only. It is small because it is one rule, which several ports and pools share. The unit
// that is counted, and the answer to a rejected key, belong in the packages that use it.
package fairshare
