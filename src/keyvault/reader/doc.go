// Package reader is the one way to the vault for controller and broker: concurrent equal reads become one call, young
// answers are shared, and who is not answered keeps nobody else back.
//
// Floor 3. Whether somebody may have an object is decided in front of the reader, for each of those who ask; how a
// vault is called, in keyvault/azure; when it may be called, in keyvault/governor.
package reader
