// Package decode makes data keys and variables of what a vault holds, as a Recipe asks. One decode serves the
// controller, the broker and the injector, so a Secret and a variable of the same resource can't differ.
//
// Floor 2, pure. Errors never quote a value.
package decode
