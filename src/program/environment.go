package program

// Environment reads environment variables, and remembers them for --help and the page of flags.
type Environment struct {
	// Lookup is os.LookupEnv in a program.
	Lookup    func(string) (string, bool)
	variables []variable
}

// variable is an environment variable of a program.
type variable struct{ name, otherwise, meaning string }

// Read returns the value of a variable, or otherwise if it is empty or not set. meaning is its line in --help.
func (e *Environment) Read(name, otherwise, meaning string) string {
	e.variables = append(e.variables, variable{name, otherwise, meaning})
	if value, ok := e.Lookup(name); ok && value != "" {
		return value
	}
	return otherwise
}
