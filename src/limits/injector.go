package limits

// injectorArea lists the bounds of what happens inside an injected pod.
func injectorArea() Area {
	return Area{Title: "Injected pods", Limits: []Limit{}}
}
