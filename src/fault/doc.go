// Package fault is the one taxonomy of what can go wrong. The adapter that sees the status code assigns a Kind once;
// every other part decides by KindOf alone.
//
// Floor 0, standard library only. Which status code means what belongs in the adapters; what to do about a Kind, in the
// actors.
package fault
