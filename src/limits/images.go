package limits

// imagesArea lists the bounds of what is read from registries to find the command of an image.
func imagesArea() Area {
	return Area{Title: "Image look-ups", Limits: []Limit{}}
}
