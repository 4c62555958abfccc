// Package governor says when a vault may be called: below Azure's limits, not within a pause that the vault asked for,
// slower after a refusal, the most urgent first, and namespaces in turns.
//
// Floor 2. It counts calls and waits; it makes none. What is read, and what is remembered of it, belongs in
// keyvault/reader.
package governor
