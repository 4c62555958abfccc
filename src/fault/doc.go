// Package fault classifies errors by kind. The adapter that sees the status code assigns the Kind once; all other code
// decides by KindOf.
//
// Floor 0, standard library only. The meaning of a status code belongs in the adapters, and the reaction to a Kind in
// the callers.
package fault
