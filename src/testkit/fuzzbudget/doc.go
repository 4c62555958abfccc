// Package fuzzbudget gives fuzz targets a bound on what one input may cost, in time and in allocated bytes. A parser of
// foreign input that answers correctly but takes a gigabyte for a kilobyte is broken, and a fuzz target without a
// budget does not notice.
package fuzzbudget
