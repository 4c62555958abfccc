package limits

// portsArea lists the bounds of connections and requests on every port.
func portsArea() Area {
	return Area{Title: "Ports", Limits: []Limit{}}
}
