// Package reader is the one way to the vault for controller and broker: concurrent equal reads become one call, young answers
// are shared, and the number of calls at once is bounded.
//
// Floor 3. Whether somebody may have an object is decided in front of the reader, for each of those who ask; how a vault is called,
// in keyvault/azure.
package reader
