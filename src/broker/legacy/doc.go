// Package legacy answers pods that the predecessor injected, when one of their containers starts again and asks as it did then.
//
// Floor 3. What it answers is that the pod has to be made anew; nothing secret is known here.
package legacy
