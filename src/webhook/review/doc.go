// Package review measures the JSON of an AdmissionReview before anything is decoded, so that the memory and the time
// that a request costs are known, and refused, while it is still a text.
//
// Floor 2, pure. Who may send a review, and how much memory all of them may use together, belongs in gate.
package review
