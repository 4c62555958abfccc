package decode

import (
	"slices"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// objectType is all that differs between the types of vault object. Each type has a file with its objectType, and a
// line in objectTypes.
type objectType interface {
	// typeName returns the text of spec.vault.object.type.
	typeName() recipe.ObjectType
	// vaultKind returns the kind of vault object to read. It decides which permission and Azure role the type needs.
	// The argument is true if an output or a variable needs the private key of a certificate.
	vaultKind(needsPrivateKey bool) keyvault.Kind
	// checkItem checks the fields of an item that only this type has. The argument field is the path of the object.
	checkItem(item recipe.Item, field string) error
	// hasEntries reports whether an object consists of entries with names of their own, which become data keys.
	hasEntries() bool
	// checkOutput checks that an output can hold an object of the type.
	checkOutput(f outputFormat) error
	// needsPrivateKey reports whether the output needs the private key of a certificate.
	needsPrivateKey(f outputFormat) bool
	// outputData decodes an object to data by data key, and charges the budget.
	outputData(f outputFormat, item FetchedItem, left *budget) (map[string]keyvault.Value, error)
	// folderFormat returns the format of the files in a folder, for a resource without a Secret.
	folderFormat(item recipe.Item) outputFormat
	// fingerprint returns the value by which changes of an object are found that has no output: equal values mean that
	// nothing changed for pods. It fails if no pod could use the object, and charges the budget.
	fingerprint(item FetchedItem, left *budget) (keyvault.Value, error)
	// queryParts returns the parts of an object that a query can select, for a type without entries.
	queryParts() []string
	// needsPrivateKeyForPart reports whether a part is the private key of a certificate.
	needsPrivateKeyForPart(part string) bool
	// variableValue decodes an object, or the part that the query selects, to the value of a variable. The part is
	// valid.
	variableValue(q Query, o keyvault.Object) (keyvault.Value, error)
}

// objectTypes is the registry of the types, in the order of messages and of the schema.
func objectTypes() []objectType {
	return []objectType{secretObject{}, certificateObject{}, keyObject{}, multiKeyObject{}}
}

// ObjectTypes returns the names of all object types.
func ObjectTypes() []recipe.ObjectType {
	var names []recipe.ObjectType
	for _, t := range objectTypes() {
		names = append(names, t.typeName())
	}
	return names
}

// typeNamed returns the object type with the name; an unknownObject if there is none.
func typeNamed(name recipe.ObjectType) objectType {
	all := objectTypes()
	at := slices.IndexFunc(all, func(t objectType) bool { return t.typeName() == name })
	if at < 0 {
		return unknownObject{unknown: name}
	}
	return all[at]
}

// CheckItem checks that the item's type is known and has the fields that it needs. Errors are fault.Invalid and name
// the field; the argument field is the path of the object in the resource.
func CheckItem(item recipe.Item, field string) error {
	return typeNamed(item.Type).checkItem(item, field)
}

// HasEntries reports whether objects of the type consist of entries with names of their own, which become data keys.
func HasEntries(name recipe.ObjectType) bool { return typeNamed(name).hasEntries() }

// commonObject has the methods of a type without own fields, without entries and without private keys. Types embed it.
type commonObject struct{}

func (commonObject) checkItem(recipe.Item, string) error { return nil }

func (commonObject) hasEntries() bool { return false }

func (commonObject) needsPrivateKey(outputFormat) bool { return false }

func (commonObject) folderFormat(item recipe.Item) outputFormat {
	return outputFormat{dataKey: item.Name}
}

//nolint:unparam // types that replace it return errors
func (commonObject) fingerprint(item FetchedItem, _ *budget) (keyvault.Value, error) {
	return item.Object.Value, nil
}

func (commonObject) needsPrivateKeyForPart(string) bool { return false }

func (commonObject) queryParts() []string { return nil }

// unknownObject stands for a type that does not exist. It can't be read or decoded.
type unknownObject struct {
	commonObject
	unknown recipe.ObjectType
}

func (u unknownObject) typeName() recipe.ObjectType { return u.unknown }

func (unknownObject) vaultKind(bool) keyvault.Kind { return "" }

func (u unknownObject) checkItem(_ recipe.Item, field string) error {
	return fault.New(fault.Invalid, "%s.type %q is not known; use one of %v", field, u.unknown, ObjectTypes())
}

func (u unknownObject) checkOutput(outputFormat) error {
	return u.checkItem(recipe.Item{}, "spec.vault.object")
}

func (u unknownObject) outputData(f outputFormat, _ FetchedItem, _ *budget) (map[string]keyvault.Value, error) {
	return nil, u.checkOutput(f)
}

func (u unknownObject) variableValue(Query, keyvault.Object) (keyvault.Value, error) {
	return keyvault.Value{}, u.checkOutput(outputFormat{})
}
