// Package review checks the size of an AdmissionReview in its JSON text, before the text is decoded. A review that
// would take too much memory or time is rejected at the cost of one scan.
//
// Floor 2, pure. The limits for clients, and for the memory of all reviews together, belong in iplimit.
package review
