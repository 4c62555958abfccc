package limits

// decodeArea lists the bounds of what is made of a vault's content.
func decodeArea() Area {
	return Area{Title: "Decoding", Limits: []Limit{}}
}
