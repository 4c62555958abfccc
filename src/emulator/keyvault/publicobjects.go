package keyvault

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // a thumbprint is one
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/certificate"
)

// The content types of the secret of a certificate.
const (
	contentTypePFX = "application/x-pkcs12"
	contentTypePEM = "application/x-pem-file"
)

// Certificate is one version of a certificate, as imported with its private key.
type Certificate struct {
	// Value is a base64-encoded PFX without a password, or a PEM.
	Value string `json:"value"`
	// NotExportable keeps the key in the vault: the secret of the same name then holds only the certificates.
	NotExportable bool `json:"notExportable,omitempty"`
	// Disabled disables the secret; the certificate itself can still be read.
	Disabled bool `json:"disabled,omitempty"`
}

// Key is one version of a key. The vault serves only its public part.
type Key struct {
	// PEM of the public key, in PKIX form.
	PEM string `json:"pem"`
	// HSM marks a key that is protected by hardware, which adds -HSM to its type.
	HSM bool `json:"hsm,omitempty"`
}

// PutCertificate adds a version of a certificate, and of the key and the secret of the same name. Unlike in Azure, the
// secret of a certificate that is not exportable is always a PEM, even if a PFX was imported.
func (s *Store) PutCertificate(vaultName, name string, c Certificate) error {
	content := []byte(c.Value)
	contentType := contentTypePEM
	if !certificate.IsPEM(content) {
		contentType = contentTypePFX
		var err error
		if content, err = base64.StdEncoding.DecodeString(c.Value); err != nil {
			return errors.New("the certificate is neither PEM nor base64")
		}
	}
	bundle, err := certificate.Parse(content, "")
	if err != nil {
		return fmt.Errorf("the certificate can't be imported: %w", err)
	}
	if bundle.Leaf() == nil || bundle.Key == nil {
		return errors.New("the certificate can't be imported: its private key is missing")
	}
	if c.NotExportable {
		c.Value, contentType = string(certificate.EncodeCertificates(bundle.Chain()...)), contentTypePEM
	}
	key, err := toJSONWebKey(bundle.Key.Public())
	if err != nil {
		return err
	}
	leaf := bundle.Leaf()
	thumbprint := sha1.Sum(leaf.Raw) //nolint:gosec // x5t is a SHA-1 by its standard (RFC 7517)
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.getOrCreateVault(vaultName)
	secret := s.addSecretVersion(v, name, Secret{Value: c.Value, ContentType: contentType, Disabled: c.Disabled,
		NotBefore: leaf.NotBefore, Expires: leaf.NotAfter, managed: true})
	v.addPublicVersion("certificates/"+name, *secret, map[string]any{
		"cer": base64.StdEncoding.EncodeToString(leaf.Raw), "x5t": base64.RawURLEncoding.EncodeToString(thumbprint[:]),
		"contentType": contentType,
		"policy": map[string]any{"key_props": map[string]any{"exportable": !c.NotExportable, "kty": key["kty"],
			"reuse_key": false},
			"secret_props": map[string]any{"contentType": contentType}},
	})
	v.addPublicVersion("keys/"+name, *secret, map[string]any{"key": key})
	return nil
}

// PutKey adds a version of a key.
func (s *Store) PutKey(vaultName, name string, k Key) error {
	block, _ := pem.Decode([]byte(k.PEM))
	if block == nil {
		return errors.New("the key is not PEM")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return errors.New("the key is not a public key in PKIX form")
	}
	key, err := toJSONWebKey(public)
	if err != nil {
		return err
	}
	if k.HSM {
		key["kty"] = fmt.Sprint(key["kty"], "-HSM")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.getOrCreateVault(vaultName)
	id := Secret{}
	s.assignVersionID(&id)
	v.addPublicVersion("keys/"+name, id, map[string]any{"key": key})
	return nil
}

// addPublicVersion adds a version of a certificate or a key. The caller holds the store's lock.
func (v *vault) addPublicVersion(path string, version Secret, public map[string]any) {
	o, ok := v.publicObjects[path]
	if !ok {
		o = &object{name: path}
		v.publicObjects[path] = o
	}
	version.Value, version.ContentType, version.publicBody = "", "", public
	o.versions = append(o.versions, &version)
}

func toJSONWebKey(public crypto.PublicKey) (map[string]any, error) {
	number := base64.RawURLEncoding.EncodeToString
	switch key := public.(type) {
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "n": number(key.N.Bytes()), "e": number(big.NewInt(int64(key.E)).Bytes()),
			"key_ops": []string{"encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"}}, nil
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			return nil, err
		}
		size := (len(point) - 1) / 2
		return map[string]any{"kty": "EC", "crv": key.Params().Name, "x": number(point[1 : 1+size]),
			"y":       number(point[1+size:]),
			"key_ops": []string{"sign", "verify"}}, nil
	}
	return nil, errors.New("the key is neither RSA nor EC")
}

// getPublicObject responds with a certificate or a key.
func (s *Server) getPublicObject(w http.ResponseWriter, c call, v *vault) {
	code := map[string]string{"certificates": "CertificateNotFound", "keys": "KeyNotFound"}[c.kind]
	missing := apiError{http.StatusNotFound, code,
		fmt.Sprintf("A %s with (name/id) %s was not found in this key vault.", c.kind, c.name), ""}
	o, ok := v.publicObjects[c.kind+"/"+c.name]
	if !ok || o.findVersion(c.version) == nil {
		replyError(w, missing)
		return
	}
	version := o.findVersion(c.version)
	body := maps.Clone(version.publicBody)
	id := func(kind string) string {
		return fmt.Sprintf("https://%s.%s/%s/%s/%s", c.vault, c.suffix, kind, c.name, version.version)
	}
	if key, ok := body["key"].(map[string]any); ok {
		key = maps.Clone(key)
		key["kid"], body["key"] = id("keys"), key
	} else {
		body["id"], body["kid"], body["sid"] = id("certificates"), id("keys"), id("secrets")
	}
	body["attributes"] = secretJSON(c, o, version, false)["attributes"]
	replyJSON(w, http.StatusOK, body)
}

// listPublicObjects lists the certificates or the keys, without versions, as the list of secrets does.
func (s *Server) listPublicObjects(w http.ResponseWriter, r *http.Request, c call, v *vault) {
	var items []any
	for _, path := range slices.Sorted(maps.Keys(v.publicObjects)) {
		name, ok := strings.CutPrefix(path, c.kind+"/")
		if !ok {
			continue
		}
		o := v.publicObjects[path]
		id := fmt.Sprintf("https://%s.%s/%s/%s", c.vault, c.suffix, c.kind, name)
		item := map[string]any{"attributes": secretJSON(c, o, o.findVersion(""), false)["attributes"]}
		if c.kind == "keys" {
			item["kid"] = id
			if _, ok := v.publicObjects["certificates/"+name]; ok {
				item["managed"] = true
			}
		} else {
			item["id"], item["x5t"] = id, o.findVersion("").publicBody["x5t"]
		}
		items = append(items, item)
	}
	replyPage(w, r, items)
}

// listPublicVersions lists the versions of a certificate or a key. The list is empty if it does not exist, as in Azure.
func (s *Server) listPublicVersions(w http.ResponseWriter, r *http.Request, c call, v *vault) {
	items := []any{}
	if o, ok := v.publicObjects[c.kind+"/"+c.name]; ok {
		field := map[string]string{"certificates": "id", "keys": "kid"}[c.kind]
		for _, version := range o.versions {
			items = append(items, map[string]any{"attributes": secretJSON(c, o, version, false)["attributes"],
				field: fmt.Sprintf("https://%s.%s/%s/%s/%s", c.vault, c.suffix, c.kind, c.name, version.version)})
		}
	}
	replyPage(w, r, items)
}
