package limits

// authServiceArea lists the bounds of requests of pods to the auth service.
func authServiceArea() Area {
	return Area{Title: "Auth service", Limits: []Limit{}}
}
