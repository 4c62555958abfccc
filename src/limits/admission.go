package limits

// admissionArea lists the bounds of admission reviews and what is read for them.
func admissionArea() Area {
	return Area{Title: "Admission webhook", Limits: []Limit{}}
}
