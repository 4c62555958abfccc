package keyvault

// Kind is the kind of a Key Vault object, or of a list of objects, in the data plane.
type Kind string

// The kinds of object. Each has its own list and its own permissions.
const (
	KindSecret      Kind = "secret"
	KindCertificate Kind = "certificate"
	KindKey         Kind = "key"
)

// The lists of a vault. A list has the names, tags and dates of objects, but no values.
const (
	KindSecretList      Kind = "secret list"
	KindCertificateList Kind = "certificate list"
	KindKeyList         Kind = "key list"
)

// kindInfo is what the data plane needs for one kind of object.
type kindInfo struct {
	item, list Kind
	// collection is the first segment of the path in the data plane.
	collection string
	// role is the built-in Azure role with the fewest rights that can read the kind and its list.
	role string
}

// kinds is the registry of the kinds of object. keyvault/azure has a client for each.
func kinds() [3]kindInfo {
	return [...]kindInfo{
		// A certificate has a secret and a key of the same name, so it comes first for those who search by name.
		{KindCertificate, KindCertificateList, "certificates", "Key Vault Certificate User"},
		{KindSecret, KindSecretList, "secrets", "Key Vault Secrets User"},
		{KindKey, KindKeyList, "keys", "Key Vault Crypto User"},
	}
}

// ItemKinds returns all kinds of object. Certificates come first, because a certificate has a secret and a key of the
// same name.
func ItemKinds() []Kind {
	var all []Kind
	for _, info := range kinds() {
		all = append(all, info.item)
	}
	return all
}

// ListKind returns the kind of the list that contains objects of kind k; empty if k is a list.
func (k Kind) ListKind() Kind {
	for _, info := range kinds() {
		if info.item == k {
			return info.list
		}
	}
	return ""
}

// ItemKind returns the kind of the objects in list k; empty if k is not a list.
func (k Kind) ItemKind() Kind {
	for _, info := range kinds() {
		if info.list == k {
			return info.item
		}
	}
	return ""
}

// RequiredRole returns the built-in Azure role with the fewest rights that can read objects or lists of kind k; empty
// if k is unknown.
func (k Kind) RequiredRole() string {
	for _, info := range kinds() {
		if info.item == k || info.list == k {
			return info.role
		}
	}
	return ""
}

// KindOfCollection returns the kind of the objects in a collection of the data plane, such as secrets; empty if the
// collection is unknown.
func KindOfCollection(collection string) Kind {
	for _, info := range kinds() {
		if info.collection == collection {
			return info.item
		}
	}
	return ""
}
