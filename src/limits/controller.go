package limits

// controllerArea lists the bounds of what AzureKeyVaultSecrets can cause.
func controllerArea() Area {
	return Area{Title: "Controller", Limits: []Limit{}}
}
