package limits

// vaultArea lists the bounds of what vaults answer and what is remembered of them.
func vaultArea() Area {
	return Area{Title: "Vaults", Limits: []Limit{}}
}
